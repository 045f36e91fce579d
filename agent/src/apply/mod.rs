//! Runs writes against the kernel. Nothing else in the agent changes its network.
//!
//! # Layout
//! - [`pins`]: the folder of pinned maps and links
//! - [`object`]: the eBPF object, loaded over the pins
//! - [`refusal`]: what the kernel says of a program that it refuses
//! - [`maps`]: one write to a map at a time
//! - [`carried`]: what another version's programs noted, taken over
//! - `barrier`: waiting for programs at work
//! - `flows`: connections, in the places of their endpoints' shares
//! - `egress_policy`: the rows of egress policies
//! - [`links`]: programs attached to interfaces
//! - [`after_dnat`]: the program that the firewall asks
//! - [`host`]: overlay device, its addresses, routes, kernel settings
//! - [`iptables`]: firewall and translation rules of the host

pub mod after_dnat;
mod barrier;
pub mod carried;
mod flows;
pub mod host;
pub mod iptables;
pub mod links;
pub mod maps;
pub mod object;
pub mod pins;
pub mod refusal;

pub use barrier::wait_for_programs;
