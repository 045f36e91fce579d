//! Connections and names under the egress firewall: what the decisions remember.
//!
//! - `scene`: a pod with a policy, packets in both directions, a clock
//! - `connections`: who may go on talking when a rule says no
//! - `echoes`: the same of ICMP, and of what shows no ports
//! - `names`: addresses that pods were told
//! - `services`: connections whose address the host translates
//! - `translated`: those of them that leave
//! - `closed`: what is stopped whatever was open
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod closed;
mod connections;
mod echoes;
#[path = "../live/mod.rs"]
mod live;
mod names;
mod older;
mod scene;
mod services;
mod translated;
