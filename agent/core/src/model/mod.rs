//! The world: everything the agent believes, as plain values. API types end before it, rows begin after it.

mod dns_name;
mod endpoint;
mod network;
mod project;
mod world;

pub use dns_name::{DnsName, InvalidDnsName};
pub use endpoint::{Endpoint, EndpointId};
pub use network::{ClusterNetwork, HostSubnet, LocalNode, Mode, NetworkEntry, gateway};
pub use project::{Project, Vnid, VnidOutOfRange};
pub use world::{Change, Problem, World};
