//! Reads back what the kernel holds.

pub mod host;
pub mod iptables;
pub mod node;
pub mod preflight;
