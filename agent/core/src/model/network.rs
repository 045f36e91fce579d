//! The cluster's networks and who holds which part.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

/// How projects are kept apart, from ClusterNetwork's `pluginName`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everybody talks to everybody.
    Subnet,
    /// Equal VNIDs talk, 0 talks to all.
    Multitenant,
}

/// One range of pod addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkEntry {
    /// The range, no host bits set.
    pub cidr: IpNet,
    /// Host bits of a node's part, 2..=(address bits - prefix length).
    pub host_bits: u8,
}

/// ClusterNetwork `default`, validated: entries and services do not overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterNetwork {
    /// Isolation mode.
    pub mode: Mode,
    /// Pod ranges in allocation order, at least one. IPv4 and IPv6 may stand side by side.
    pub networks: Vec<NetworkEntry>,
    /// Service ranges, at most one a family.
    pub services: Vec<IpNet>,
    /// UDP port of the overlay.
    pub vxlan_port: u16,
    /// MTU of pods and of the overlay device.
    pub mtu: u16,
}

/// A node's part of the pod ranges and its underlay address, from a HostSubnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostSubnet {
    /// Node name.
    pub name: String,
    /// Underlay address.
    pub ip: IpAddr,
    /// Pod subnets, at most one a family, no host bits set, the first is `subnet` of the object.
    pub subnets: Vec<IpNet>,
}

impl HostSubnet {
    /// The host's own address in each of the subnets: the first after the network address.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.subnets.iter().map(gateway)
    }
}

/// First address after the network address. Subnets have at least two host bits, so it exists.
pub fn gateway(subnet: &IpNet) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) | 1).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) | 1).into()),
    }
}

/// This node, from configuration and the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocalNode {
    /// Node name: that of its Node and HostSubnet objects.
    pub name: String,
    /// Underlay address in use.
    pub ip: IpAddr,
    /// Every address of the node, `ip` included.
    pub addresses: Vec<IpAddr>,
}
