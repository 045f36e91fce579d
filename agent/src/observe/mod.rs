//! Reads the actual content back from the kernel.
//!
//! # Layout
//! - [`maps`]: rows and counters of the eBPF maps
//! - [`host`]: overlay device, its addresses, our routes
//! - [`iptables`]: our chains and jumps
//! - [`node`]: which addresses the node has, and which it uses
//! - [`removals`]: whether something of ours was taken away
//! - [`preflight`]: what must be there before anything is tried

pub mod host;
pub mod iptables;
pub mod maps;
pub mod node;
pub mod preflight;
pub mod removals;
