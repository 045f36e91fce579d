//! A pod of a project with a policy, and what is outside.

use std::net::IpAddr;
use std::sync::Arc;

use weft_core::compile::{compile, project_key};
use weft_core::model::{
    Action, Change, ClusterNetwork, Destination, EgressPolicy, EgressRule, Endpoint, EndpointId,
    HostSubnet, LocalNode, Mode, NamePattern, NetworkEntry, Ports, Project, Protocol, Vnid, World,
};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Verdict};
use weft_ebpf::packet::{MORE_FRAGMENTS, Packet, proto};
use weft_ebpf::reason::DropReason;

use crate::live::Live;

pub const POD: [&str; 2] = ["10.128.2.5", "fd01:0:0:2::5"];
/// Two addresses outside, of each family.
pub const FAR: [&str; 2] = ["198.51.100.9", "2001:db8::9"];
pub const OTHER: &str = "203.0.113.4";
pub const NODE: &str = "192.168.50.11";
pub const IFINDEX: u32 = 7;
/// The node's interface to the outside.
const UPLINK: u32 = 2;
const MAC: [u8; 6] = [0x0a, 0x58, 10, 128, 2, 5];
pub const SECOND: u64 = 1_000_000_000;

/// Dropped for this reason, by the rule with this number.
pub type Refusal = (DropReason, u32);

pub struct Scene {
    pub world: World,
    pub live: Live,
    ifindex: u32,
}

impl Scene {
    /// Project `a` with these rules, and a pod of it.
    pub fn new(rules: Vec<EgressRule>) -> Self {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut world = World::new(LocalNode {
            name: "node1".into(),
            ip: ip(NODE),
            addresses: vec![ip(NODE)],
        });
        let entry = |cidr: &str, host_bits| NetworkEntry {
            cidr: cidr.parse().unwrap(),
            host_bits,
        };
        let network = ClusterNetwork {
            mode: Mode::Multitenant,
            networks: vec![entry("10.128.0.0/14", 9), entry("fd01::/48", 64)],
            services: vec!["172.30.0.0/16".parse().unwrap()],
            vxlan_port: 4789,
            mtu: 1450,
        };
        let host = HostSubnet {
            name: "node1".into(),
            ip: ip(NODE),
            subnets: ["10.128.2.0/23", "fd01:0:0:2::/64"]
                .map(|s| s.parse().unwrap())
                .into(),
        };
        let project = Project {
            name: "a".into(),
            vnid: Vnid::new(7).unwrap(),
        };
        let endpoint = Endpoint {
            id: EndpointId {
                container: "c".into(),
                ifname: "eth0".into(),
            },
            project: "a".into(),
            pod: "pod".into(),
            addresses: POD.map(ip).into(),
            mac: MAC,
            host_ifname: "weft0".into(),
            host_ifindex: IFINDEX,
        };
        for change in [
            Change::ClusterNetwork(Some(network)),
            Change::HostSubnet("node1".into(), Some(host)),
            Change::Project("a".into(), Some(project)),
            Change::Endpoint(endpoint.id.clone(), Some(endpoint)),
        ] {
            world.take(change);
        }
        let live = Live::new(compile(&world));
        let mut scene = Self {
            world,
            live,
            ifindex: IFINDEX,
        };
        scene.set(rules);
        scene
    }

    /// Another set of rules; connections and names stay.
    pub fn set(&mut self, rules: Vec<EgressRule>) {
        self.policy(Some(EgressPolicy::new("a", rules)));
    }

    pub fn policy(&mut self, policy: Option<Arc<EgressPolicy>>) {
        let change = Change::EgressPolicy("a".into(), "default".into(), policy);
        self.world.take(change);
        self.live.tables = compile(&self.world);
    }

    /// The pod is gone, and another of the project has its addresses and this interface.
    pub fn another_pod(&mut self, ifindex: u32) {
        for endpoint in self.world.endpoints.clone().into_values() {
            let id = endpoint.id.clone();
            let next = Endpoint {
                host_ifindex: ifindex,
                ..endpoint
            };
            self.world.take(Change::Endpoint(id, Some(next)));
        }
        self.live.tables = compile(&self.world);
        self.ifindex = ifindex;
    }

    pub fn later(&self, seconds: u64) {
        self.live.now.set(self.live.now.get() + seconds * SECOND);
    }

    /// The pod was told that an address is of names with these patterns, for so many seconds.
    pub fn tell(&mut self, address: &str, patterns: &[&str], seconds: u64) {
        let patterns: Vec<_> = patterns.iter().map(|text| pattern(text)).collect();
        let until = self.live.now.get() + seconds * SECOND;
        self.live
            .tell("a", address.parse().unwrap(), &patterns, until);
    }

    /// The pod sends.
    #[track_caller]
    pub fn out(&self, packet: &Packet) -> Result<(), Refusal> {
        match decide::from_pod(&self.live, packet, self.ifindex) {
            Verdict::Pass => Ok(()),
            Verdict::Drop(denial) => {
                assert_eq!(
                    denial.src_project,
                    project_key("a"),
                    "the event names the project"
                );
                Err((denial.reason, denial.rule))
            }
            other => panic!("{other:?}"),
        }
    }

    /// The outside sends, and the pod gets it: the firewall judges only what leaves.
    #[track_caller]
    pub fn back(&self, packet: &Packet) {
        let verdict = decide::to_pod(&self.live, packet, self.ifindex, UPLINK);
        assert!(matches!(verdict, Verdict::Deliver(_)), "{verdict:?}");
    }
}

/// Denied by the rule with this number.
pub const fn denied(rule: u32) -> Result<(), Refusal> {
    Err((DropReason::EgressDenied, rule))
}

pub fn pattern(text: &str) -> NamePattern {
    match text.strip_prefix("*.") {
        Some(parent) => NamePattern::Below(parent.parse().unwrap()),
        None => NamePattern::Exact(text.parse().unwrap()),
    }
}

fn rule(action: Action, to: &str) -> EgressRule {
    let to = match to.parse() {
        Ok(net) => Destination::Cidr(net),
        Err(_) => Destination::Name(pattern(to)),
    };
    EgressRule {
        action,
        to,
        ports: vec![],
    }
}

pub fn allow(to: &str) -> EgressRule {
    rule(Action::Allow, to)
}

pub fn deny(to: &str) -> EgressRule {
    rule(Action::Deny, to)
}

/// Rules that deny both families, as numbers `n` and `n + 1`.
pub fn deny_all() -> [EgressRule; 2] {
    [deny("0.0.0.0/0"), deny("::/0")]
}

pub fn on(protocol: Protocol, port: u16, rule: EgressRule) -> EgressRule {
    let range = port..=port;
    let ports = vec![Ports { protocol, range }];
    EgressRule { ports, ..rule }
}

/// From the pod, a port of it, to somewhere.
fn packet(proto: u8, pod_port: u16, far: &str, far_port: u16, opens: bool) -> Packet {
    let far: IpAddr = far.parse().unwrap();
    let pod = POD[usize::from(far.is_ipv6())].parse::<IpAddr>().unwrap();
    Packet {
        src_mac: MAC,
        src: Addr::from(pod),
        dst: Addr::from(far),
        src_port: pod_port,
        dst_port: far_port,
        proto,
        opens: u8::from(opens),
        len: 100,
        ..Packet::default()
    }
}

pub fn udp(pod_port: u16, far: &str, far_port: u16) -> Packet {
    packet(proto::UDP, pod_port, far, far_port, true)
}

/// A TCP packet that opens nothing: anything but a SYN without ACK.
pub fn tcp(pod_port: u16, far: &str, far_port: u16) -> Packet {
    packet(proto::TCP, pod_port, far, far_port, false)
}

pub fn syn(pod_port: u16, far: &str, far_port: u16) -> Packet {
    packet(proto::TCP, pod_port, far, far_port, true)
}

const fn icmp_of(far: &str) -> u8 {
    let mut at = 0;
    while at < far.len() {
        if far.as_bytes()[at] == b':' {
            return proto::ICMPV6;
        }
        at += 1;
    }
    proto::ICMP
}

/// An echo request.
pub fn ping(far: &str) -> Packet {
    packet(icmp_of(far), 0, far, 0, true)
}

/// Any other ICMP: an echo's answer, an error.
pub fn icmp(far: &str) -> Packet {
    packet(icmp_of(far), 0, far, 0, false)
}

/// The same packet in the other direction.
pub fn reversed(packet: &Packet) -> Packet {
    Packet {
        src_mac: [2; 6],
        src: packet.dst,
        dst: packet.src,
        src_port: packet.dst_port,
        dst_port: packet.src_port,
        ..*packet
    }
}

/// The first fragment of the packet, and a later one, as the packet with this identification.
pub fn fragments(packet: &Packet, ident: u16) -> (Packet, Packet) {
    let first = Packet {
        place: MORE_FRAGMENTS,
        ident,
        ..*packet
    };
    let later = Packet {
        place: 185,
        src_port: 0,
        dst_port: 0,
        opens: 0,
        ..first
    };
    (first, later)
}
