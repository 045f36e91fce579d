//! Runs writes against the kernel. Nothing else in the agent changes its network.
//!
//! # Layout
//! - [`pins`]: the folder of pinned maps and links
//! - [`object`]: the eBPF object, loaded over the pins
//! - [`maps`]: typed maps, one write at a time
//! - [`links`]: programs attached to interfaces
//! - [`host`]: overlay device, its addresses, routes, kernel settings
//! - [`iptables`]: firewall and translation rules of the host

pub mod host;
pub mod iptables;
pub mod links;
pub mod maps;
pub mod object;
pub mod pins;
mod row;

pub use row::Row;
