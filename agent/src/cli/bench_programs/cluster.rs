//! A cluster of a given size, as the maps of one of its nodes hold it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use weft_core::model::{
    Change, ClusterNetwork, Endpoint, EndpointId, HostSubnet, LocalNode, Mode, NetworkEntry,
    Project, Vnid, World,
};
use weft_ebpf::rows::GATEWAY_MAC;

/// What makes rows of the trie of prefixes, beside networks and services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefixes {
    /// The node's two addresses.
    Few,
    /// As many addresses of the node as the other maps have rows. Every subnet is adopted, too.
    Rows,
}

impl std::fmt::Display for Prefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Few => "few",
            Self::Rows => "rows",
        })
    }
}

/// The world of a node with so many peers, projects and pods.
pub struct Cluster {
    /// The world.
    pub world: World,
    /// Peers, and pods.
    rows: u32,
    prefixes: Prefixes,
}

/// The node that the programs run on.
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 11);
/// Its gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 1);
/// Pods of the other nodes: 2^17 subnets of 2^6 addresses.
const REMOTE: (u32, u8) = (0x0a00_0000, 6);
/// Pods of this node: one subnet of 2^18 addresses, of which half are in use at most.
const LOCAL: (u32, u8) = (0x0a80_0000, 18);
/// The interface on which a test run without a context is: `lo`.
const LOOPBACK: u32 = 1;

impl Cluster {
    /// So many peers, and as many pods in as many projects.
    pub fn new(rows: u32, prefixes: Prefixes) -> Self {
        let more = match prefixes {
            Prefixes::Few => 0,
            Prefixes::Rows => rows,
        };
        let addresses = std::iter::once(NODE).chain((0..more).map(Self::own));
        let addresses = addresses.map(IpAddr::V4).collect();
        let mut world = World::new(LocalNode {
            name: "node".into(),
            ip: NODE.into(),
            addresses,
        });
        world.overlay_ifindex = LOOPBACK;
        let entry = |(base, host_bits): (u32, u8)| NetworkEntry {
            cidr: net(base, 9),
            host_bits,
        };
        world.network = Some(ClusterNetwork {
            mode: Mode::Multitenant,
            networks: vec![entry(REMOTE), entry(LOCAL)],
            services: vec![net(0xac1e_0000, 16)],
            vxlan_port: 4789,
            mtu: 1450,
        });
        host(&mut world, "node", NODE, net(LOCAL.0, 32 - LOCAL.1));
        // Half of what the network hands out.
        let len = 32 - REMOTE.1 + u8::from(prefixes == Prefixes::Rows);
        for n in 0..rows {
            let ip = Ipv4Addr::from(0xc612_0000 + n);
            let subnet = net(REMOTE.0 + (spread(n, 17) << REMOTE.1), len);
            host(&mut world, &format!("peer{n}"), ip, subnet);
        }
        let cluster = Self {
            world,
            rows,
            prefixes,
        };
        cluster.with_pods()
    }

    /// Pods 0 and 1 are in project 0, the others in one each. Every pod can send: its MAC address is the one that a
    /// delivered frame carries, so that a frame can be sent again as it came out.
    fn with_pods(mut self) -> Self {
        for n in 0..self.pods() {
            let project = format!("project{}", n.saturating_sub(1));
            let id = EndpointId {
                container: n.to_string(),
                ifname: "eth0".into(),
            };
            let endpoint = Endpoint {
                id: id.clone(),
                project: project.clone(),
                pod: format!("pod{n}"),
                addresses: vec![Self::pod(n).into()],
                mac: GATEWAY_MAC,
                host_ifname: format!("weft{n}"),
                // All three that send are on the one interface there is.
                host_ifindex: if n < 3 { LOOPBACK } else { 1000 + n },
            };
            let vnid = Vnid::new(u64::from(10 + n)).unwrap_or(Vnid::MAX);
            let known = Project {
                name: project.clone(),
                vnid,
            };
            self.world.take(Change::Endpoint(id, Some(endpoint)));
            self.world.take(Change::Project(project, Some(known)));
        }
        self
    }

    /// Pods of this node: at least two that may talk, and one more that they may not talk to.
    pub fn pods(&self) -> u32 {
        self.rows.max(3)
    }

    /// Address of a pod of this node.
    pub fn pod(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(LOCAL.0 + 2 + spread(n, 17))
    }

    /// Address of IPv6 of a pod of this node, where it is given one.
    pub fn pod6(n: u32) -> Ipv6Addr {
        Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(2 + n))
    }

    /// Another address of the node itself.
    fn own(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x6400_0000 + spread(n, 24))
    }

    /// An address of the node: the last one of its many, if it has them.
    pub fn address(&self, n: u32) -> Ipv4Addr {
        match self.prefixes {
            Prefixes::Few => NODE,
            Prefixes::Rows => Self::own(n % self.rows),
        }
    }

    /// Address of a pod of a peer.
    pub fn remote(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(REMOTE.0 + (spread(n % self.rows, 17) << REMOTE.1) + 2)
    }
}

fn host(world: &mut World, name: &str, ip: Ipv4Addr, subnet: IpNet) {
    let host = HostSubnet {
        name: name.to_owned(),
        ip: IpAddr::V4(ip),
        subnets: vec![subnet],
    };
    world.take(Change::HostSubnet(name.to_owned(), Some(host)));
}

fn net(base: u32, len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(base), len)).trunc()
}

/// A permutation of `0..2^bits` that leaves no neighbours together: an odd factor.
fn spread(n: u32, bits: u8) -> u32 {
    n.wrapping_mul(0x9e37_79b1) & ((1 << bits) - 1)
}
