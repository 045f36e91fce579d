//! The lab without a product in it: shell scripts stand in for agents, controller and CNI plugin.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

mod command_line;
mod dns;
mod kubernetes;
mod pods;
mod probes;
mod stubs;
mod topology;
