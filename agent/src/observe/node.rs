//! Which addresses the node has, and which of them it uses towards other nodes.

mod watch;

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use weft_core::host::Device;
use weft_core::host::{DEVICE_PREFIX, OVERLAY_OVERHEAD};
use weft_core::model::{ClusterNetwork, LocalNode, ObjectRef, Problem};

pub use watch::watch;

use crate::netlink::{Netlink, NetlinkError, address::InterfaceAddress};

/// What the configuration says of the node's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// `nodeName`, filled in.
    pub name: String,
    /// `nodeIP`
    pub ip: Option<IpAddr>,
    /// `nodeInterface`
    pub interface: Option<String>,
}

/// This node and the interface that its address in use stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The node.
    pub node: LocalNode,
    /// Interface name.
    pub interface: String,
    /// Its MTU.
    pub mtu: u32,
}

/// The node's address cannot be told, or must not be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The kernel did not say.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// `nodeInterface` names none.
    #[error("nodeInterface {name}: there is no such interface; there are: {}", existing.join(", "))]
    NoInterface {
        /// The name.
        name: String,
        /// Those that there are.
        existing: Vec<String>,
    },
    /// Nothing to choose on the interface.
    #[error("interface {0} has no global address: give it one, or set nodeIP or nodeInterface")]
    NoAddress(String),
    /// Neither configured nor to be found.
    #[error(
        "there is no default route to take the node's address from: set nodeIP or nodeInterface"
    )]
    NoDefaultRoute,
    /// An address that other nodes cannot send to.
    #[error(
        "node address {ip}: it is {what}, which other nodes cannot reach: set nodeIP to another address"
    )]
    Unreachable {
        /// The address.
        ip: IpAddr,
        /// What kind of address it is.
        what: &'static str,
    },
    /// `nodeIP` is somebody else's.
    #[error(
        "nodeIP {ip}: no interface of this node has it; the node's addresses are: {}",
        list(addresses)
    )]
    NotLocal {
        /// The address.
        ip: IpAddr,
        /// The node's.
        addresses: Vec<IpAddr>,
    },
    /// The address would be routed into the overlay that it is to carry.
    #[error(
        "node address {ip}: it lies inside the {what} {network} of ClusterNetwork default: set nodeIP or nodeInterface to another address, or move the {what}"
    )]
    InsideNetwork {
        /// The address.
        ip: IpAddr,
        /// `cluster network` or `service network`.
        what: &'static str,
        /// Its range.
        network: ipnet::IpNet,
    },
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// What the kernel says of the node: the input of [`select`].
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Devices.
    pub devices: Vec<Device>,
    /// Addresses of all of them.
    pub addresses: Vec<InterfaceAddress>,
    /// Index of the interface of the best default route: IPv4, else IPv6.
    pub default_route: Option<u32>,
}

/// Asks the kernel.
pub fn snapshot(netlink: &mut Netlink) -> Result<Snapshot, NetlinkError> {
    let mut default_route = None;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let routes = netlink.default_routes(family)?;
        let best = routes.into_iter().min_by_key(|(_, metric)| *metric);
        default_route = default_route.or(best.map(|(device, _)| device));
    }
    Ok(Snapshot {
        devices: netlink.devices()?,
        addresses: netlink.addresses()?,
        default_route,
    })
}

/// Asks the kernel and chooses.
pub fn observe(netlink: &mut Netlink, choice: &Choice) -> Result<Underlay, NodeError> {
    select(choice, &snapshot(netlink)?)
}

/// nodeIP, else an address of nodeInterface, else one of the default route's interface: its first global IPv4 address,
/// else its first global IPv6 one.
pub fn select(choice: &Choice, snapshot: &Snapshot) -> Result<Underlay, NodeError> {
    let addresses = own_addresses(snapshot);
    let (ip, index) = match (choice.ip, &choice.interface) {
        (Some(ip), _) => {
            reachable(ip)?;
            let holder = snapshot.addresses.iter().find(|a| a.address.addr() == ip);
            let holder = holder.ok_or_else(|| NodeError::NotLocal {
                ip,
                addresses: addresses.clone(),
            })?;
            (ip, holder.device)
        }
        (None, Some(name)) => {
            let device = snapshot.devices.iter().find(|d| d.name == *name);
            let device = device.ok_or_else(|| NodeError::NoInterface {
                name: name.clone(),
                existing: names(snapshot),
            })?;
            first_address(device.index, snapshot)?
        }
        (None, None) => first_address(
            snapshot.default_route.ok_or(NodeError::NoDefaultRoute)?,
            snapshot,
        )?,
    };
    let device = snapshot.devices.iter().find(|d| d.index == index);
    let device = device.ok_or_else(|| NodeError::NoAddress(format!("number {index}")))?;
    Ok(Underlay {
        node: LocalNode {
            name: choice.name.clone(),
            ip,
            addresses,
        },
        interface: device.name.clone(),
        mtu: device.mtu,
    })
}

fn first_address(index: u32, snapshot: &Snapshot) -> Result<(IpAddr, u32), NodeError> {
    let usable = |a: &&InterfaceAddress| a.device == index && a.global && a.preferred;
    let of_interface: Vec<IpAddr> = snapshot
        .addresses
        .iter()
        .filter(usable)
        .map(|a| a.address.addr())
        .filter(|ip| reachable(*ip).is_ok())
        .collect();
    let ip = of_interface
        .iter()
        .find(|ip| ip.is_ipv4())
        .or(of_interface.first());
    let name = || {
        let device = snapshot.devices.iter().find(|d| d.index == index);
        device.map_or_else(|| format!("number {index}"), |d| d.name.clone())
    };
    Ok((*ip.ok_or_else(|| NodeError::NoAddress(name()))?, index))
}

/// Every address of the node but those that mean nothing beyond it or its links, and the gateways on our own devices.
fn own_addresses(snapshot: &Snapshot) -> Vec<IpAddr> {
    let ours: Vec<u32> = snapshot
        .devices
        .iter()
        .filter(|d| d.name.starts_with(DEVICE_PREFIX))
        .map(|d| d.index)
        .collect();
    let mut addresses: Vec<IpAddr> = snapshot
        .addresses
        .iter()
        .filter(|a| !ours.contains(&a.device))
        .map(|a| a.address.addr())
        .filter(|ip| reachable(*ip).is_ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    let names = snapshot.devices.iter().map(|d| d.name.clone());
    names.filter(|n| !n.starts_with(DEVICE_PREFIX)).collect()
}

fn reachable(ip: IpAddr) -> Result<(), NodeError> {
    let what = match ip {
        _ if ip.is_loopback() => "a loopback address",
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(v4) if v4.is_link_local() => "a link-local address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        _ => return Ok(()),
    };
    Err(NodeError::Unreachable { ip, what })
}

/// Refuses a node address inside the networks of the cluster.
pub fn check(node: &LocalNode, network: &ClusterNetwork) -> Result<(), NodeError> {
    let pods = network.networks.iter().map(|n| ("cluster network", n.cidr));
    let services = network.services.iter().map(|n| ("service network", *n));
    for (what, range) in pods.chain(services) {
        if range.contains(&node.ip) {
            return Err(NodeError::InsideNetwork {
                ip: node.ip,
                what,
                network: range,
            });
        }
    }
    Ok(())
}

/// What is wrong with the underlay's MTU: full-sized packets between nodes would be lost.
pub fn check_mtu(underlay: &Underlay, network: &ClusterNetwork) -> Option<Problem> {
    // An IPv6 header is 20 bytes longer.
    let overhead = OVERLAY_OVERHEAD + if underlay.node.ip.is_ipv6() { 20 } else { 0 };
    let needed = u32::from(network.mtu) + overhead;
    let (interface, mtu) = (&underlay.interface, underlay.mtu);
    (mtu < needed).then(|| Problem {
        object: ObjectRef::cluster_network().into(),
        message: format!(
            "mtu {} needs {needed} on the underlay, but interface {interface} has {mtu}: full-sized packets between \
             nodes are lost; set mtu to {} or less, or raise the interface's (ip link set {interface} mtu {needed})",
            network.mtu,
            mtu.saturating_sub(overhead),
        ),
    })
}
