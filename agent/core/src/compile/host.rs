//! What the host's own network should look like: overlay device, gateway addresses, routes, sysctls, firewall.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_ebpf::rows::OVERLAY_MAC;

use super::iptables::{self, Ruleset};
use crate::host::{OVERLAY, Overlay, Route};
use crate::model::{ClusterNetwork, Endpoint, HostSubnet, LocalNode};

/// The wanted content of the host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// The overlay device.
    pub overlay: Overlay,
    /// Gateway addresses on it, each as /32 or /128.
    pub addresses: Vec<IpAddr>,
    /// Routes to the cluster networks. Endpoints have theirs from [`endpoint_routes`].
    pub routes: Vec<Route>,
    /// In the order in which they must be written.
    pub sysctls: Vec<Sysctl>,
    /// One for each address family in use.
    pub firewall: Vec<Ruleset>,
}

/// A wanted kernel setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Path below `/proc/sys`. Slashes, since interface names may hold dots.
    pub key: String,
    /// Wanted value.
    pub value: &'static str,
    /// Write only over this value; `None`: over any other.
    pub instead_of: Option<&'static str>,
}

/// The plan for a node. `underlay` names the interface that holds the node's address.
///
/// A cluster network of a family in which this node has no subnet gets no route: no packet of ours could answer.
pub fn host_plan(
    network: &ClusterNetwork,
    host: &HostSubnet,
    node: &LocalNode,
    underlay: &str,
) -> HostPlan {
    let addresses: Vec<_> = host.gateways().collect();
    let routes = network
        .networks
        .iter()
        .filter_map(|entry| {
            Some(Route {
                destination: entry.cidr,
                device: OVERLAY.to_owned(),
                source: same_family(&entry.cidr, &addresses)?,
            })
        })
        .collect();
    let ipv6 = addresses.iter().any(IpAddr::is_ipv6);
    let firewall = iptables::rulesets(network, node, &addresses);
    HostPlan {
        overlay: Overlay {
            name: OVERLAY.to_owned(),
            mac: OVERLAY_MAC,
            port: network.vxlan_port,
            mtu: u32::from(network.mtu),
        },
        addresses,
        routes,
        sysctls: sysctls(ipv6, underlay),
        firewall,
    }
}

/// The host's routes to an endpoint, one for each of its addresses whose family has a gateway.
pub fn endpoint_routes(endpoint: &Endpoint, gateways: &[IpAddr]) -> Vec<Route> {
    let mut routes = Vec::new();
    for address in &endpoint.addresses {
        let destination = IpNet::from(*address);
        if let Some(source) = same_family(&destination, gateways) {
            routes.push(Route {
                destination,
                device: endpoint.host_ifname.clone(),
                source,
            });
        }
    }
    routes
}

fn same_family(network: &IpNet, addresses: &[IpAddr]) -> Option<IpAddr> {
    let ipv4 = matches!(network, IpNet::V4(_));
    addresses.iter().copied().find(|a| a.is_ipv4() == ipv4)
}

fn sysctls(ipv6: bool, underlay: &str) -> Vec<Sysctl> {
    let set = |key: String, value| Sysctl {
        key,
        value,
        instead_of: None,
    };
    // The kernel takes the higher of `all` and the device: 2 (loose) on the device wins over a strict 1 in `all`, which
    // would drop pod packets that come back on another device than the route to their source names.
    let mut list = vec![
        set("net/ipv4/ip_forward".into(), "1"),
        set(format!("net/ipv4/conf/{OVERLAY}/rp_filter"), "2"),
    ];
    if ipv6 {
        list.push(set(format!("net/ipv6/conf/{OVERLAY}/disable_ipv6"), "0"));
        // A forwarding host ignores router advertisements unless accept_ra is 2; a node whose default route comes from
        // one would lose it. 0 was somebody's decision and stays.
        list.push(Sysctl {
            key: format!("net/ipv6/conf/{underlay}/accept_ra"),
            value: "2",
            instead_of: Some("1"),
        });
        list.push(set("net/ipv6/conf/all/forwarding".into(), "1"));
    }
    list
}

#[cfg(test)]
pub(crate) mod tests;
