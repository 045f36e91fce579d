//! Reads the actual content back from the kernel.
//!
//! # Layout
//! - [`maps`]: rows and counters of the eBPF maps
//! - [`egress`]: the egress firewall's rows, what its rules met, what pods were told
//! - [`kubens`]: in which mount namespaces kubelet, runtime and agent are
//! - [`node`]: which addresses the node has, and which it uses
//! - [`live`]: the maps as the packet decisions see them
//! - [`ring`]: waiting for a ring buffer
//! - [`foreign`]: what somebody else has put before our programs
//! - [`removals`]: whether something of ours was taken away
//! - [`preflight`]: what must be there before anything is tried

pub mod egress;
pub mod foreign;
pub mod kubens;
pub mod live;
pub mod maps;
pub mod node;
pub mod preflight;
pub mod removals;
pub mod ring;
