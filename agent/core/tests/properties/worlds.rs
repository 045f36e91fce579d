//! Random worlds.
//!
//! Worlds keep what ingest and the address management guarantee: ranges of a ClusterNetwork do not overlap, pod subnets
//! lie in them and do not overlap either, no two nodes have one underlay address, no two pods have one address.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use weft_core::model::{
    Change, ClusterNetwork, Endpoint, EndpointId, HostSubnet, LocalNode, Mode, NetworkEntry,
    Project, Vnid, World, gateway,
};

use crate::policies::{egress, policy};

/// Ranges of pods with the host bits that a ClusterNetwork may give them.
const NETWORKS: [(&str, [u8; 3]); 5] = [
    ("10.128.0.0/14", [9, 8, 13]),
    ("10.0.0.0/18", [4, 7, 14]),
    ("192.0.2.0/24", [2, 5, 8]),
    ("fd01::/48", [64, 72, 80]),
    ("fd02:0:0:1::/112", [3, 8, 16]),
];
const SERVICES: [&str; 2] = ["172.30.0.0/16", "fd98::/112"];
pub const NODES: [&str; 6] = ["here", "node1", "node2", "node3", "node4", "node5"];
pub const PROJECTS: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];
pub const ENDPOINTS: usize = 8;

pub fn vnid() -> impl Strategy<Value = u32> {
    select(vec![0, 1, 7, 7, 0x00ff_ffff])
}

/// A valid ClusterNetwork, of any mode and with up to five ranges.
pub fn network() -> impl Strategy<Value = ClusterNetwork> {
    let modes = select(vec![Mode::Multitenant, Mode::Multitenant, Mode::Subnet]);
    let ranges = proptest::sample::subsequence(NETWORKS.to_vec(), 1..=NETWORKS.len());
    let ports = select(vec![4789_u16, 4790]);
    (modes, ranges, 0..3_usize, any::<[bool; 2]>(), ports).prop_map(
        |(mode, ranges, size, services, vxlan_port)| ClusterNetwork {
            mode,
            networks: ranges
                .iter()
                .map(|(cidr, bits)| NetworkEntry {
                    cidr: cidr.parse().unwrap(),
                    host_bits: bits[size],
                })
                .collect(),
            services: SERVICES
                .iter()
                .zip(services)
                .filter(|(_, wanted)| *wanted)
                .map(|(cidr, _)| cidr.parse().unwrap())
                .collect(),
            vxlan_port,
            mtu: 1450,
        },
    )
}

/// Where a node's subnet of one family lies, and how long it is.
#[derive(Clone, Debug)]
pub struct Part {
    network: Index,
    slot: u8,
    /// Bits longer than what the range hands out; an adopted subnet may have any length.
    longer: i16,
    tail: u8,
}

fn part() -> impl Strategy<Value = Part> {
    let longer = prop_oneof![Just(0_i16), -3..=5_i16];
    (any::<Index>(), 0..5_u8, longer, any::<u8>()).prop_map(|(network, slot, longer, tail)| Part {
        network,
        slot,
        longer,
        tail,
    })
}

/// Subnets wanted for a node: at most one a family.
pub type Parts = (Option<Part>, Option<Part>);

pub fn parts() -> impl Strategy<Value = Parts> {
    let often = || proptest::option::weighted(0.8, part());
    (often(), often())
}

impl Part {
    /// The subnet, in the ranges of one family; `None` if they have no room of this length.
    fn subnet(&self, network: &ClusterNetwork, v6: bool) -> Option<IpNet> {
        let ranges = network.networks.iter();
        let ranges: Vec<_> = ranges.filter(|n| n.cidr.addr().is_ipv6() == v6).collect();
        if ranges.is_empty() {
            return None;
        }
        let range = self.network.get(&ranges);
        let bits = range.cidr.max_prefix_len();
        let regular = bits - range.host_bits;
        let len = u8::try_from(i16::from(regular) + self.longer).ok()?;
        if len < range.cidr.prefix_len() || len > bits - 2 {
            return None;
        }
        // The slot among the regular ones, then somewhere in it.
        let offset = (u128::from(self.slot) << range.host_bits)
            + (u128::from(self.tail) << (bits - len)) % (1 << range.host_bits);
        let address = match range.cidr.network() {
            IpAddr::V4(a) => IpAddr::V4((u32::from(a) + u32::try_from(offset).ok()?).into()),
            IpAddr::V6(a) => IpAddr::V6((u128::from(a) + offset).into()),
        };
        let subnet = IpNet::new(address, len).ok()?.trunc();
        range.cidr.contains(&subnet).then_some(subnet)
    }
}

/// A node's HostSubnet; `None` if it has no subnet that is free among `others`.
pub fn host(
    name: &str,
    parts: &Parts,
    network: &ClusterNetwork,
    others: &[HostSubnet],
) -> Option<HostSubnet> {
    let wanted = [
        parts.0.as_ref().and_then(|p| p.subnet(network, false)),
        parts.1.as_ref().and_then(|p| p.subnet(network, true)),
    ];
    let taken = |subnet: &IpNet| {
        let mut all = others.iter().flat_map(|other| &other.subnets);
        all.any(|other| other.contains(subnet) || subnet.contains(other))
    };
    let subnets: Vec<IpNet> = wanted
        .into_iter()
        .flatten()
        .filter(|subnet| !taken(subnet))
        .collect();
    (!subnets.is_empty()).then(|| HostSubnet {
        name: name.to_owned(),
        ip: underlay(name),
        subnets,
    })
}

pub fn underlay(name: &str) -> IpAddr {
    let number = NODES.iter().position(|n| *n == name).unwrap();
    IpAddr::from([192, 168, 50, 10 + u8::try_from(number).unwrap()])
}

/// This node, with addresses outside and inside the pods' and services' ranges.
pub fn node() -> impl Strategy<Value = LocalNode> {
    let more = [
        "192.168.60.1",
        "fd00::10",
        "10.128.2.9",
        "172.30.0.1",
        "127.0.0.1",
    ];
    proptest::sample::subsequence(more.to_vec(), 0..3).prop_map(|more| {
        let ip = underlay(NODES[0]);
        let more = more.iter().map(|a| a.parse().unwrap());
        LocalNode {
            name: NODES[0].into(),
            ip,
            addresses: std::iter::once(ip).chain(more).collect(),
        }
    })
}

/// A pod's project, and where its addresses lie: counted in its node's subnets, or anywhere else.
#[derive(Clone, Debug)]
pub struct Pod {
    project: &'static str,
    at_home: bool,
    families: [bool; 2],
}

pub fn pod() -> impl Strategy<Value = Pod> {
    let families = select(vec![[true, false], [false, true], [true, true]]);
    (
        select(PROJECTS.to_vec()),
        proptest::bool::weighted(0.9),
        families,
    )
        .prop_map(|(project, at_home, families)| Pod {
            project,
            at_home,
            families,
        })
}

pub fn endpoint_id(number: usize) -> EndpointId {
    EndpointId {
        container: format!("container{number}"),
        ifname: "eth0".into(),
    }
}

/// The pod as the endpoint with this number. Its addresses are its own: no other number has them.
pub fn endpoint(number: usize, pod: &Pod, own: Option<&HostSubnet>) -> Endpoint {
    let n = u8::try_from(number).unwrap();
    let home = |v6: bool| {
        let subnet = own?.subnets.iter().find(|s| s.addr().is_ipv6() == v6)?;
        // Subnets may have two host bits: most pods of such a node are elsewhere.
        let address = match gateway(subnet) {
            IpAddr::V4(a) => IpAddr::V4((u32::from(a) + 1 + u32::from(n)).into()),
            IpAddr::V6(a) => IpAddr::V6((u128::from(a) + 1 + u128::from(n)).into()),
        };
        subnet.contains(&address).then_some(address)
    };
    let elsewhere = [
        IpAddr::from([198, 18, 0, n]),
        IpAddr::from([0xfdee, 0, 0, 0, 0, 0, 0, u16::from(n)]),
    ];
    let addresses = [(false, elsewhere[0]), (true, elsewhere[1])]
        .into_iter()
        .zip(pod.families)
        .filter(|(_, wanted)| *wanted)
        .map(|((v6, elsewhere), _)| {
            let address = if pod.at_home { home(v6) } else { None };
            address.unwrap_or(elsewhere)
        });
    Endpoint {
        id: endpoint_id(number),
        project: pod.project.into(),
        pod: format!("pod{number}"),
        addresses: addresses.collect(),
        mac: [0x0a, 0x58, 1, 2, 3, n],
        host_ifname: format!("weft{number}"),
        host_ifindex: 100 + u32::from(n),
    }
}

pub fn project(name: &str, vnid: u32) -> Project {
    Project {
        name: name.into(),
        vnid: Vnid::new(vnid.into()).unwrap(),
    }
}

/// Any world, most with a network and this node's subnet.
pub fn world() -> impl Strategy<Value = World> {
    let projects = prop::collection::vec(proptest::option::weighted(0.8, vnid()), PROJECTS.len());
    let pods = prop::collection::vec(proptest::option::weighted(0.7, pod()), ENDPOINTS);
    let hosts = prop::collection::vec(proptest::option::weighted(0.8, parts()), NODES.len());
    (
        node(),
        proptest::option::weighted(0.95, network()),
        network(),
        hosts,
        projects,
        pods,
        egress(PROJECTS.len()),
    )
        .prop_map(|(node, network, past, hosts, projects, pods, egress)| {
            let mut world = World::new(node);
            world.overlay_ifindex = 9;
            // Without a network HostSubnets may be known all the same.
            let ranges = network.as_ref().unwrap_or(&past);
            let mut settled: Vec<HostSubnet> = Vec::new();
            for (name, parts) in NODES.iter().zip(&hosts) {
                let parts = parts.as_ref();
                settled.extend(parts.and_then(|parts| host(name, parts, ranges, &settled)));
            }
            for host in settled {
                world.take(Change::HostSubnet(host.name.clone(), Some(host)));
            }
            world.network = network;
            for (name, vnid) in PROJECTS.iter().zip(projects) {
                let project = vnid.map(|vnid| project(name, vnid));
                world.take(Change::Project((*name).into(), project));
            }
            let (policies, resolved, settings) = egress;
            world.take(Change::EgressSettings(settings));
            for (project, own) in PROJECTS.iter().zip(policies) {
                for (name, draft) in own {
                    let policy = Some(policy(project, &draft));
                    world.take(Change::EgressPolicy((*project).into(), name.into(), policy));
                }
            }
            for (name, addresses) in resolved {
                world.take(Change::Resolved(name, addresses));
            }
            for (number, pod) in pods.iter().enumerate() {
                let Some(pod) = pod else { continue };
                let endpoint = endpoint(number, pod, world.own_host());
                world.take(Change::Endpoint(endpoint.id.clone(), Some(endpoint)));
            }
            world
        })
}
