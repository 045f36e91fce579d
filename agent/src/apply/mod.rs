//! The only code that changes the kernel's network.

pub mod host;
pub mod iptables;
pub mod sysctl;
