//! Random packets in a world.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use weft_core::model::{Destination, World, gateway};
use weft_ebpf::decide::ENTERED_UNKNOWN;

use crate::policies::Told;
use crate::reference::{NOBODY, Packet};
use crate::worlds::{NODES, underlay, vnid};

/// Every address at which something begins, ends or stands, with its neighbours, and some that nobody has.
pub fn interesting(world: &World) -> Vec<IpAddr> {
    let network = world.network.iter();
    let entries = network
        .clone()
        .flat_map(|n| n.networks.iter().map(|e| e.cidr));
    let services = network.flat_map(|n| n.services.iter().copied());
    let subnets = world.hosts.values().flat_map(|h| h.subnets.iter().copied());
    let mut found: Vec<IpAddr> = Vec::new();
    for range in entries.chain(services).chain(subnets.clone()) {
        found.extend([range.network(), range.broadcast()]);
    }
    // Where a regular subnet would end around an adopted one.
    for entry in world.network.iter().flat_map(|n| &n.networks) {
        let len = entry.cidr.max_prefix_len() - entry.host_bits;
        for subnet in subnets.clone().filter(|s| entry.cidr.contains(s)) {
            if let Ok(around) = IpNet::new(subnet.network(), len) {
                found.extend([around.network(), around.broadcast()]);
            }
        }
    }
    found.extend(subnets.map(|s| gateway(&s)));
    found.extend(world.endpoints.values().flat_map(|e| e.addresses.clone()));
    found.extend(world.hosts.values().map(|h| h.ip));
    found.extend(&world.node.addresses);
    let mut all: Vec<IpAddr> = found
        .iter()
        .flat_map(|ip| [step_by(*ip, -1), *ip, step_by(*ip, 1)])
        .collect();
    all.push(NOBODY);
    let others = [
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "ff02::1",
        "ff05::2",
        "::",
        "0.0.0.0",
        "8.8.8.8",
        "2001:db8::1",
        "255.255.255.255",
        "fe80::1",
        "169.254.1.1",
    ];
    all.extend(others.iter().map(|a| a.parse::<IpAddr>().unwrap()));
    all
}

fn step_by(ip: IpAddr, by: i8) -> IpAddr {
    match ip {
        IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add_signed(by.into()).into()),
        IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add_signed(by.into()).into()),
    }
}

/// Every address outside at which a rule begins, ends or stands, with its neighbours.
pub fn ruled(world: &World, told: &[Told]) -> Vec<IpAddr> {
    let policies = world.egress_policies.values().flat_map(|own| own.values());
    let rules = policies.flat_map(|policy| policy.rules.iter().flatten());
    let mut found: Vec<IpAddr> = told.iter().map(|it| it.address).collect();
    found.extend(world.resolved.values().flatten());
    for rule in rules {
        if let Destination::Cidr(net) = &rule.to {
            found.extend([net.network(), net.broadcast()]);
        }
    }
    let around = |ip: &IpAddr| [step_by(*ip, -1), *ip, step_by(*ip, 1)];
    let mut all: Vec<IpAddr> = found.iter().flat_map(around).collect();
    all.push(NOBODY);
    all.extend(world.node.addresses.clone());
    all
}

/// A packet that is not yet tied to a world.
#[derive(Clone, Debug)]
pub struct Draw {
    src: Index,
    dst: Index,
    src_is_pod: bool,
    dst_is: Towards,
    own_mac: bool,
    own_interface: bool,
    proto: u8,
    port: u16,
    peer: Index,
    entered: Index,
    vnid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Towards {
    Pod,
    /// An address that an egress rule is about.
    Ruled,
    Anything,
}

pub fn draw() -> impl Strategy<Value = Draw> {
    let protos = select(vec![1_u8, 6, 17, 17, 58, 132]);
    let ports = select(vec![
        0_u16, 53, 79, 80, 81, 1024, 4789, 4789, 4790, 4791, 65535,
    ]);
    let towards = select(vec![
        Towards::Pod,
        Towards::Pod,
        Towards::Ruled,
        Towards::Ruled,
        Towards::Ruled,
        Towards::Anything,
        Towards::Anything,
        Towards::Anything,
    ]);
    let likely = || proptest::bool::weighted(0.9);
    (
        (
            any::<Index>(),
            any::<Index>(),
            any::<Index>(),
            any::<Index>(),
        ),
        (any::<bool>(), towards, likely(), likely()),
        (protos, ports, vnid()),
    )
        .prop_map(
            |(
                (src, dst, peer, entered),
                (src_is_pod, dst_is, own_mac, own_interface),
                (proto, port, vnid),
            )| Draw {
                src,
                dst,
                src_is_pod,
                dst_is,
                own_mac,
                own_interface,
                proto,
                port,
                peer,
                entered,
                vnid,
            },
        )
}

/// A packet in a world, and what the hooks know beside it.
#[derive(Debug)]
pub struct Scene {
    pub packet: Packet,
    /// Interface from which it comes: its sender's, or another.
    pub from: u32,
    /// Interface by which what the host sends came to the node: 0 if a process of the node sends it.
    pub entered: u32,
    /// Interface to which it goes: its receiver's, or another.
    pub to: u32,
    /// Outer source in the overlay.
    pub peer: IpAddr,
    /// Network number in the overlay.
    pub vnid: u32,
}

impl Draw {
    pub fn scene(&self, world: &World, interesting: &[IpAddr], ruled: &[IpAddr]) -> Scene {
        let pods: Vec<IpAddr> = world
            .endpoints
            .values()
            .flat_map(|e| e.addresses.clone())
            .collect();
        let pick = |index: &Index, towards| {
            *index.get(match towards {
                Towards::Pod if !pods.is_empty() => &pods,
                Towards::Ruled => ruled,
                _ => interesting,
            })
        };
        let from = if self.src_is_pod {
            Towards::Pod
        } else {
            Towards::Anything
        };
        let (src, dst) = (pick(&self.src, from), pick(&self.dst, self.dst_is));
        let pod = |address: IpAddr| {
            let mut pods = world.endpoints.values();
            pods.find(|e| e.addresses.contains(&address))
        };
        let interface = |address: IpAddr| match pod(address) {
            Some(pod) if self.own_interface => pod.host_ifindex,
            _ => 101,
        };
        // Of the pods, of a device that is no pod's, and of a pod of which no more is known.
        let others = [0, 0, 2, ENTERED_UNKNOWN];
        let endpoints = world.endpoints.values();
        let entered: Vec<u32> = endpoints
            .map(|endpoint| endpoint.host_ifindex)
            .chain(others)
            .collect();
        let mac = match pod(src) {
            Some(pod) if self.own_mac => pod.mac,
            _ => [2, 0, 0, 0, 0, 9],
        };
        let mut peers: Vec<IpAddr> = NODES.iter().map(|n| underlay(n)).collect();
        peers.push(NOBODY);
        // Half of the time the one that would send this packet.
        let home = world
            .hosts
            .values()
            .find(|h| h.subnets.iter().any(|s| s.contains(&src)));
        let peer = match home {
            Some(host) if self.own_mac => host.ip,
            _ => *self.peer.get(&peers),
        };
        Scene {
            packet: Packet {
                src,
                dst,
                src_mac: mac,
                proto: self.proto,
                dst_port: self.port,
            },
            from: interface(src),
            entered: *self.entered.get(&entered),
            to: interface(dst),
            peer,
            vnid: self.vnid,
        }
    }
}
