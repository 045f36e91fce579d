//! A real overlay device: what needs overlay metadata, and what the packets look like outside.

pub mod lab;
mod refused;

use std::net::IpAddr;

use weft_agent::observe;
use weft_ebpf::rows::{GATEWAY_MAC, OVERLAY_MAC};

use self::lab::{POD, PORT, REMOTE, lab, receive, send, socket};
use crate::frames::frame;
use crate::rig::{NODE, PEER, VXLAN_PORT, interface, with_rig};

#[test]
fn admitted_packets_reach_their_pod() {
    with_rig(|rig| {
        let lab = lab(rig);
        let (peer, pod) = (lab.underlay(PEER, 0), lab.pod(PORT));
        for (vni, src, why) in [
            (10, REMOTE, "equal network numbers"),
            (0, REMOTE, "a global project"),
            (0, "10.128.4.1", "the peer itself, by its gateway"),
            (0, PEER, "the peer itself, by its underlay address"),
        ] {
            send(&peer, vni, &frame(src, POD).udp(PORT));
            assert_eq!(receive(&pod, why), src.parse::<IpAddr>().unwrap(), "{why}");
        }
        let traffic = observe::maps::traffic(&rig.maps, interface("a")).unwrap();
        assert_eq!(traffic.to_packets, 4);

        let host = socket(("10.128.2.1".parse().unwrap(), PORT));
        send(&peer, 11, &frame(REMOTE, "10.128.2.1").udp(PORT));
        assert_eq!(receive(&host, "the gateway").to_string(), REMOTE);
    });
}

/// What leaves carries the sender's network number and says nothing of this node's MAC addresses.
#[test]
fn packets_to_the_overlay_carry_the_senders_number() {
    with_rig(|rig| {
        let lab = lab(rig);
        let peer = lab.underlay(PEER, VXLAN_PORT);
        let host = socket(("10.128.2.1".parse().unwrap(), 0));
        for (sender, src, vni, why) in [
            (lab.pod(0), POD, 10_u32, "a pod's, by redirection"),
            (host, "10.128.2.1", 0, "the node's, by its route"),
        ] {
            sender.send_to(b"weft", (REMOTE, PORT)).unwrap();
            let mut buffer = [0; 256];
            let (len, from) = peer
                .recv_from(&mut buffer)
                .unwrap_or_else(|e| panic!("{why}: {e}"));
            assert_eq!(from.ip().to_string(), NODE, "{why}: outer source");
            let (header, inner) = buffer[..len].split_at(8);
            assert_eq!(header[0], 0x08, "{why}: the VNI is valid");
            assert_eq!(header[4..7], vni.to_be_bytes()[1..], "{why}: VNI");
            assert_eq!(inner[..6], OVERLAY_MAC, "{why}");
            assert_eq!(
                inner[6..12],
                GATEWAY_MAC,
                "{why}: not the receiving device's own"
            );
            let inner: &[u8] = inner;
            let mut packet = weft_ebpf::packet::Packet::default();
            weft_ebpf::packet::parse(inner, &mut packet).unwrap();
            assert_eq!(packet.src.to_ip().to_string(), src, "{why}");
            assert_eq!(packet.dst.to_ip().to_string(), REMOTE, "{why}");
            assert_eq!(packet.dst_port, PORT, "{why}");
        }
    });
}
