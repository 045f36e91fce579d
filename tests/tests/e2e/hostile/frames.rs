//! Frames that nobody would send in good faith: made at random from what is near something that a data path decides by.

use std::net::IpAddr;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::headers::{extended, fix_checksum, sum, with_options};
use crate::frame::{Mac, ethernet, packet, vxlan};

pub const ICMP: u8 = 1;
const IPIP: u8 = 4;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const IPV6: u8 = 41;
const GRE: u8 = 47;
pub const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// Ports at which something may happen: none, DNS, the agent's metrics, the overlay, kubelet, the victims' servers.
const PORTS: [u16; 8] = [0, 53, 80, 4789, 7000, 9101, 10250, 30_000];
pub const VXLAN: u16 = 4789;

/// What an attacker knows of a cluster.
pub struct Knowledge {
    pub own: [IpAddr; 2],
    pub own_mac: Mac,
    pub gateway_mac: Mac,
    /// Of others, to be taken for.
    pub macs: Vec<Mac>,
    /// Pods, nodes, gateways, services, the outside, loopback, groups: of both families.
    pub addresses: Vec<IpAddr>,
    /// Projects' networks.
    pub vnids: Vec<u32>,
    /// A node, to which packets of the overlay go.
    pub nodes: [IpAddr; 2],
    /// In every frame, several times.
    pub marker: [u8; 16],
}

impl Knowledge {
    /// The next frame.
    pub fn frame(&self, rng: &mut StdRng) -> Vec<u8> {
        let mut frame = match rng.random_range(0..100) {
            0..4 => self.no_ip(rng),
            _ => self.ip_frame(rng, 0),
        };
        // What is cut or damaged somewhere; the marker stands there often enough.
        if rng.random_ratio(1, 10) {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..frame.len().min(90));
                frame[at] = rng.random();
            }
        }
        if rng.random_ratio(1, 20) {
            frame.truncate(rng.random_range(14..=frame.len()));
        }
        frame.truncate(1514);
        frame
    }

    /// A packet of the overlay with whatever in it, mostly from its own address: never from that of another node, which an
    /// underlay has to keep from others.
    pub fn overlay_frame(&self, rng: &mut StdRng) -> Vec<u8> {
        let target = self.nodes[usize::from(rng.random_ratio(1, 10))];
        let own = self.own[usize::from(target.is_ipv6())];
        let source = if rng.random_ratio(1, 10) { target } else { own };
        let vnid = *self.vnids.choose(rng).unwrap_or(&0);
        let mut payload = vxlan(vnid, &self.ip_frame(rng, 1));
        if rng.random_ratio(1, 10) {
            payload[rng.random_range(0..8)] = rng.random();
        }
        let port: u16 = rng.random();
        let ports = [port.to_be_bytes(), VXLAN.to_be_bytes()].concat();
        let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
        let mut datagram = [&ports[..], &length.to_be_bytes(), &[0, 0], &payload].concat();
        sum(UDP, source, target, &mut datagram);
        let kind = if source.is_ipv4() { 0x0800 } else { 0x86dd };
        let bytes = packet(source, target, UDP, &datagram);
        let mut frame = ethernet(self.own_mac, self.gateway_mac, kind, &bytes);
        frame.truncate(1514);
        frame
    }

    fn no_ip(&self, rng: &mut StdRng) -> Vec<u8> {
        let kind = [0x0806, 0x8100, 0x88a8, 0x8847, 0x88cc, 0x0000, 0x86de];
        let kind = *kind.choose(rng).unwrap_or(&0);
        let (from, to) = self.macs(rng);
        ethernet(from, to, kind, &self.payload(rng))
    }

    fn ip_frame(&self, rng: &mut StdRng, depth: u32) -> Vec<u8> {
        let (source, target) = self.ends(rng);
        let (from, to) = self.macs(rng);
        let kind = if source.is_ipv4() { 0x0800 } else { 0x86dd };
        ethernet(from, to, kind, &self.ip_packet(rng, source, target, depth))
    }

    fn macs(&self, rng: &mut StdRng) -> (Mac, Mac) {
        let other = |rng: &mut StdRng| *self.macs.choose(rng).unwrap_or(&[0xff; 6]);
        let from = if rng.random_ratio(9, 10) {
            self.own_mac
        } else {
            other(rng)
        };
        let to = if rng.random_ratio(8, 10) {
            self.gateway_mac
        } else {
            other(rng)
        };
        (from, to)
    }

    /// Source and destination of one family, the source mostly its own.
    fn ends(&self, rng: &mut StdRng) -> (IpAddr, IpAddr) {
        let target = self.address(rng);
        let own = self.own[usize::from(target.is_ipv6())];
        if rng.random_ratio(8, 10) {
            return (own, target);
        }
        let source = self.address(rng);
        if source.is_ipv4() == target.is_ipv4() {
            (source, target)
        } else {
            (own, target)
        }
    }

    fn address(&self, rng: &mut StdRng) -> IpAddr {
        *self.addresses.choose(rng).unwrap_or(&self.own[0])
    }

    fn ip_packet(&self, rng: &mut StdRng, source: IpAddr, target: IpAddr, depth: u32) -> Vec<u8> {
        let own_icmp = if source.is_ipv4() { ICMP } else { ICMPV6 };
        let protocols = [
            TCP, UDP, UDP, own_icmp, own_icmp, IPIP, IPV6, GRE, SCTP, 50, 51, 255,
        ];
        let protocol = if rng.random_ratio(1, 20) {
            rng.random()
        } else {
            *protocols.choose(rng).unwrap_or(&UDP)
        };
        let transport = self.transport(rng, protocol, source, target, depth);
        let (protocol, transport) = match rng.random_range(0..10) {
            0 if source.is_ipv6() => extended(rng, protocol, &transport, &self.marker),
            _ => (protocol, transport),
        };
        let mut bytes = packet(source, target, protocol, &transport);
        if source.is_ipv4() {
            if rng.random_ratio(1, 10) {
                // Don't fragment, more fragments, an offset, an identification.
                let place: u16 = match rng.random_range(0..3) {
                    0 => 0x2000,
                    1 => 0x2000 | rng.random_range(0..400),
                    _ => rng.random_range(0..400),
                };
                bytes[4..6].copy_from_slice(&rng.random_range(0_u16..20).to_be_bytes());
                bytes[6..8].copy_from_slice(&place.to_be_bytes());
            }
            if rng.random_ratio(1, 20) {
                let station = self.address_v4(rng);
                bytes = with_options(rng, &bytes, station);
            }
            fix_checksum(&mut bytes);
        }
        bytes
    }

    fn address_v4(&self, rng: &mut StdRng) -> [u8; 4] {
        match self.address(rng) {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(_) => [10, 128, 0, 1],
        }
    }

    fn transport(
        &self,
        rng: &mut StdRng,
        protocol: u8,
        source: IpAddr,
        target: IpAddr,
        depth: u32,
    ) -> Vec<u8> {
        let inside = |rng: &mut StdRng| {
            let (from, to) = self.ends(rng);
            self.ip_packet(rng, from, to, depth + 1)
        };
        let mut bytes = match protocol {
            _ if depth > 2 => self.payload(rng),
            TCP => {
                let ports = ports(rng);
                let flags = rng.random();
                let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
                [&ports[..], &rest, &self.payload(rng)].concat()
            }
            UDP => {
                let mut ports = ports(rng);
                let payload = if rng.random_ratio(1, 4) {
                    ports[2..4].copy_from_slice(&VXLAN.to_be_bytes());
                    let vnid = *self.vnids.choose(rng).unwrap_or(&0);
                    vxlan(vnid, &self.ip_frame(rng, depth + 1))
                } else {
                    self.payload(rng)
                };
                let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
                [&ports[..], &length.to_be_bytes(), &[0, 0], &payload].concat()
            }
            ICMP | ICMPV6 => {
                let kinds = [
                    0, 1, 2, 3, 4, 5, 8, 11, 12, 128, 129, 133, 134, 135, 136, 137, 143,
                ];
                let kind = *kinds.choose(rng).unwrap_or(&3);
                let code = rng.random_range(0..6);
                let value: [u8; 4] = [0, 0, 2, rng.random()];
                let quoted = inside(rng);
                [&[kind, code, 0, 0][..], &value, &quoted].concat()
            }
            IPIP | IPV6 => inside(rng),
            GRE => [&[0, 0, 8, 0][..], &inside(rng)].concat(),
            _ => [&ports(rng)[..], &self.payload(rng)].concat(),
        };
        sum(protocol, source, target, &mut bytes);
        bytes
    }

    fn payload(&self, rng: &mut StdRng) -> Vec<u8> {
        let mut bytes = self.marker.repeat(rng.random_range(1..5));
        bytes.resize(bytes.len() + rng.random_range(0..100), 0);
        bytes
    }
}

fn ports(rng: &mut StdRng) -> [u8; 4] {
    let port = |rng: &mut StdRng| -> [u8; 2] {
        let known = *PORTS.choose(rng).unwrap_or(&0);
        let port = if rng.random() { known } else { rng.random() };
        port.to_be_bytes()
    };
    let (a, b) = (port(rng), port(rng));
    [a[0], a[1], b[0], b[1]]
}
