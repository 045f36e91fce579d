//! What must happen to a packet, told from the model alone: no rows, no prefixes, no keys, and no thought of speed.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use weft_core::model::{Endpoint, HostSubnet, Mode, World, gateway};
use weft_ebpf::decide::ENTERED_UNKNOWN;
use weft_ebpf::packet::proto;
use weft_ebpf::reason::DropReason;

use crate::firewall::{Lessons, Ruling, ruling};

/// A packet in the words of the model.
#[derive(Clone, Debug)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub src_mac: [u8; 6],
    pub proto: u8,
    pub dst_port: u16,
}

/// What must happen to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Into the pod behind this interface, with this MAC address.
    Deliver { ifindex: u32, mac: [u8; 6] },
    /// To another node.
    Tunnel { node: IpAddr, vnid: u32 },
    /// To the host's network stack.
    Host,
    /// Nowhere.
    Drop(DropReason),
    /// Nowhere: the egress firewall. Sender's project and network number, and the rule counted from 1 if one denied it.
    Bar {
        reason: DropReason,
        project: String,
        network: u32,
        rule: u32,
    },
    /// Nowhere, since these two may not talk. A party is named by its project if it is a pod of this node.
    Refuse {
        reason: DropReason,
        from: (Option<String>, Option<u32>),
        to: (Option<String>, Option<u32>),
    },
}

/// What an address is, as far as the world tells.
enum Place<'a> {
    /// Its address in the underlay.
    ThisNode,
    /// Its address in the pod network.
    Gateway,
    Service,
    PodOf(&'a HostSubnet),
    PodOfNobody,
    Outside,
}

/// One side of a packet: its project if it is a pod of this node, and its network number unless it is closed.
#[derive(Clone)]
struct Side {
    project: Option<String>,
    network: Option<u32>,
}

impl Side {
    fn outside() -> Self {
        Self {
            project: None,
            network: Some(0),
        }
    }

    fn pod(world: &World, pod: &Endpoint) -> Self {
        Self {
            project: Some(pod.project.clone()),
            network: number(world, &pod.project),
        }
    }
}

pub fn from_pod(world: &World, packet: &Packet, ifindex: u32, lessons: &Lessons) -> Fate {
    // Only its own addresses, over its own interface, from its own MAC address.
    let Some(sender) = pod_with(world, packet.src) else {
        return Fate::Drop(DropReason::SpoofedAddress);
    };
    if sender.host_ifindex != ifindex {
        return Fate::Drop(DropReason::SpoofedAddress);
    }
    if sender.mac != packet.src_mac {
        return Fate::Drop(DropReason::SpoofedMac);
    }
    if let Some(network) = &world.network
        && packet.proto == proto::UDP
        && packet.dst_port == network.vxlan_port
    {
        return Fate::Drop(DropReason::ForgedOverlay);
    }
    let project = sender.project.as_str();
    let sender = Side::pod(world, sender);
    if let Some(receiver) = pod_with(world, packet.dst) {
        return between(&sender, &Side::pod(world, receiver), || deliver(receiver));
    }
    if packet.dst.is_multicast() {
        return Fate::Drop(DropReason::MulticastDisabled);
    }
    let nobodys = match packet.dst.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    };
    if nobodys {
        return Fate::Drop(DropReason::Loopback);
    }
    match place(world, packet.dst) {
        // Free for all: a service's endpoint is judged when the host has translated the address.
        Place::Gateway | Place::Service => Fate::Host,
        // So is the node's name server; whatever else the node offers is outside.
        Place::ThisNode
            if packet.dst_port == 53 && [proto::TCP, proto::UDP].contains(&packet.proto) =>
        {
            Fate::Host
        }
        Place::PodOf(host) if host.name == world.node.name => Fate::Drop(DropReason::NoSuchPod),
        // The receiving node judges; but a closed project talks to nobody.
        Place::PodOf(host) => open(&sender, |vnid| Fate::Tunnel {
            node: host.ip,
            vnid,
        }),
        Place::PodOfNobody => Fate::Drop(DropReason::NoSuchNode),
        Place::ThisNode | Place::Outside => leaves(world, project, packet, lessons),
    }
}

/// The egress firewall's word on what a pod of a project sends out.
fn leaves(world: &World, project: &str, packet: &Packet, lessons: &Lessons) -> Fate {
    let side = Side {
        project: Some(project.to_owned()),
        network: number(world, project),
    };
    open(&side, |network| {
        let (reason, rule) = match ruling(world, project, packet, lessons) {
            Ruling::Free => return Fate::Host,
            Ruling::Closed => (DropReason::EgressClosed, 0),
            Ruling::Denied(rule) => (DropReason::EgressDenied, rule),
        };
        Fate::Bar {
            reason,
            project: project.to_owned(),
            network,
            rule,
        }
    })
}

/// The host has translated the destination. What goes to pods is judged where it gets there; all else as if the pod had sent
/// it there.
pub fn after_dnat(world: &World, packet: &Packet, lessons: &Lessons) -> Fate {
    let Some(sender) = pod_with(world, packet.src) else {
        return Fate::Host;
    };
    let dns = packet.dst_port == 53 && [proto::TCP, proto::UDP].contains(&packet.proto);
    match place(world, packet.dst) {
        Place::Gateway | Place::Service | Place::PodOf(_) | Place::PodOfNobody => Fate::Host,
        Place::ThisNode if dns => Fate::Host,
        Place::ThisNode | Place::Outside => leaves(world, &sender.project, packet, lessons),
    }
}

pub fn to_pod(world: &World, packet: &Packet, ifindex: u32, entered: u32) -> Fate {
    let Some(receiver) = pod_with(world, packet.dst) else {
        return Fate::Drop(DropReason::NoSuchPod);
    };
    if receiver.host_ifindex != ifindex {
        return Fate::Drop(DropReason::WrongInterface);
    }
    let masqueraded = hidden(world, entered);
    let sender = match (pod_with(world, packet.src), place(world, packet.src)) {
        (Some(sender), _) => Side::pod(world, sender),
        (None, Place::PodOf(_) | Place::PodOfNobody) => {
            return Fate::Drop(DropReason::UnexpectedSource);
        }
        (None, own) => match (masqueraded, own) {
            (Some(sender), _) => sender,
            // Before any rule: probes of the node.
            (None, Place::ThisNode | Place::Gateway) => return deliver(receiver),
            (None, _) => Side::outside(),
        },
    };
    between(&sender, &Side::pod(world, receiver), || deliver(receiver))
}

pub fn from_overlay(world: &World, packet: &Packet, peer: IpAddr, vnid: u32) -> Fate {
    let other_nodes = || world.hosts.values().filter(|h| h.name != world.node.name);
    let sender = match &world.network {
        Some(_) => other_nodes().find(|host| host.ip == peer),
        None => None,
    };
    let Some(node) = sender else {
        return Fate::Drop(DropReason::UnknownPeer);
    };
    let of_sender = match place(world, packet.src) {
        Place::PodOf(host) => host.name == node.name,
        _ => packet.src == node.ip,
    };
    if !of_sender {
        return Fate::Drop(DropReason::ForeignSource);
    }
    if let Some(receiver) = pod_with(world, packet.dst) {
        let sender = Side {
            project: None,
            network: Some(vnid),
        };
        return between(&sender, &Side::pod(world, receiver), || deliver(receiver));
    }
    match place(world, packet.dst) {
        Place::ThisNode | Place::Gateway => Fate::Host,
        Place::PodOf(host) if host.name == world.node.name => Fate::Drop(DropReason::NoSuchPod),
        _ => Fate::Drop(DropReason::NotForThisNode),
    }
}

pub fn to_overlay(world: &World, packet: &Packet, entered: u32) -> Fate {
    let sender = match (pod_with(world, packet.src), place(world, packet.src)) {
        (Some(pod), _) => Side::pod(world, pod),
        (None, Place::ThisNode | Place::Gateway) => {
            hidden(world, entered).unwrap_or_else(Side::outside)
        }
        _ => return Fate::Drop(DropReason::ForeignSource),
    };
    open(&sender, |vnid| match place(world, packet.dst) {
        Place::PodOf(host) if host.name == world.node.name => Fate::Drop(DropReason::NoSuchPod),
        Place::PodOf(host) => Fate::Tunnel {
            node: host.ip,
            vnid,
        },
        _ => Fate::Drop(DropReason::NoSuchNode),
    })
}

/// The traffic matrix: equal numbers talk, 0 talks to all, a closed project to nobody.
fn between(from: &Side, to: &Side, admitted: impl FnOnce() -> Fate) -> Fate {
    let reason = match (from.network, to.network) {
        (None, _) => DropReason::SourceProjectClosed,
        (_, None) => DropReason::TargetProjectClosed,
        (Some(a), Some(b)) if a == b || a == 0 || b == 0 => return admitted(),
        _ => DropReason::Isolated,
    };
    Fate::Refuse {
        reason,
        from: (from.project.clone(), from.network),
        to: (to.project.clone(), to.network),
    }
}

/// What an open project may do whoever the other side is.
fn open(from: &Side, fate: impl FnOnce(u32) -> Fate) -> Fate {
    match from.network {
        Some(vnid) => fate(vnid),
        None => Fate::Drop(DropReason::SourceProjectClosed),
    }
}

fn deliver(pod: &Endpoint) -> Fate {
    Fate::Deliver {
        ifindex: pod.host_ifindex,
        mac: pod.mac,
    }
}

fn pod_with(world: &World, address: IpAddr) -> Option<&Endpoint> {
    let mut pods = world.endpoints.values();
    pods.find(|pod| pod.addresses.contains(&address))
}

/// The pod whose packet the host sends with another source.
fn hidden(world: &World, entered: u32) -> Option<Side> {
    let mut pods = world.endpoints.values();
    match pods.find(|pod| pod.host_ifindex == entered) {
        Some(pod) => Some(Side::pod(world, pod)),
        // Some pod's.
        None if entered == ENTERED_UNKNOWN => Some(Side {
            project: None,
            network: None,
        }),
        None => None,
    }
}

/// A project's number; `None` if it is closed.
fn number(world: &World, project: &str) -> Option<u32> {
    match world.network.as_ref()?.mode {
        Mode::Subnet => Some(0),
        Mode::Multitenant => world.projects.get(project).map(|p| p.vnid.number()),
    }
}

fn place(world: &World, address: IpAddr) -> Place<'_> {
    let Some(network) = &world.network else {
        return Place::Outside; // nothing is known of any address
    };
    let own = world.hosts.get(&world.node.name);
    let own_subnets = own.map_or(&[][..], |host| &host.subnets);
    if own_subnets.iter().any(|subnet| gateway(subnet) == address) {
        return Place::Gateway;
    }
    if world.node.addresses.contains(&address) {
        return Place::ThisNode;
    }
    let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
    if let Some(host) = world.hosts.values().find(|host| within(&host.subnets)) {
        return Place::PodOf(host);
    }
    if network.networks.iter().any(|n| n.cidr.contains(&address)) {
        return Place::PodOfNobody;
    }
    if within(&network.services) {
        return Place::Service;
    }
    Place::Outside
}

/// An address that nothing in a world has.
pub const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));
