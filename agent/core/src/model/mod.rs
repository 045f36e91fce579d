//! The world: everything the agent believes, as plain values. API types end before it, rows begin after it.

mod connection;
mod dns_name;
mod egress;
mod egress_state;
mod endpoint;
mod index;
mod kind;
mod network;
mod object_name;
mod problem;
mod project;
mod world;

pub use connection::{Connection, Direction};
pub use dns_name::{DnsName, InvalidDnsName};
pub(crate) use egress::number;
pub use egress::{
    Action, Conflicts, Destination, EgressPolicy, EgressRule, EgressSettings, NamePattern, Ports,
    Protocol,
};
pub use egress_state::{EgressState, Violation};
pub use endpoint::{Endpoint, EndpointId};
pub use kind::{Kind, OtherKind};
pub use network::{ClusterNetwork, HostSubnet, LocalNode, Mode, NetworkEntry, gateway};
pub use object_name::check_name;
pub use problem::{ObjectRef, Problem, Subject, sort_problems};
pub use project::{Project, Vnid, VnidOutOfRange};
pub use world::{Change, World};
