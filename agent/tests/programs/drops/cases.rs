//! A packet for each drop reason.

mod admission;
mod destinations;
mod firewall;
mod unfit;

use weft_ebpf::reason::DropReason::*;

use super::case::{Case, NOTHING, Seen};
use crate::frames::{Frame, frame};
use crate::rig::VXLAN_PORT;

pub const A: &str = "10.128.2.5";
pub const A6: &str = "fd01:0:0:2::5";

/// What cannot be parsed, and what is not the pod's to send.
fn frames_and_spoofing() -> Vec<Case> {
    let plain = frame(A, "10.128.2.6");
    // A test run itself refuses frames that are shorter than an IP header.
    let mut short = plain.bytes();
    short[14] = 0x44;
    let mut arp = plain.bytes();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let headers = Frame {
        extensions: 7,
        ..frame(A6, "fd01:0:0:2::7")
    };
    let refused = Seen {
        src: headers.src.into(),
        dst: headers.dst.into(),
        ..NOTHING
    };
    vec![
        Case::new("an IPv4 header of four words", Malformed, "a", &plain).bytes(short, NOTHING),
        Case::new("ARP", NotIp, "a", &plain).bytes(arp, NOTHING),
        Case::new("seven options headers", TooManyHeaders, "a", &headers)
            .bytes(headers.bytes(), refused),
        Case::new(
            "another pod's address",
            SpoofedAddress,
            "a",
            &frame("10.128.2.6", "10.128.2.8"),
        ),
        Case::new(
            "an address of nobody",
            SpoofedAddress,
            "a",
            &frame("198.51.100.1", "10.128.2.8"),
        ),
        Case::new(
            "the gateway's address",
            SpoofedAddress,
            "a",
            &frame("10.128.2.1", "10.128.2.8"),
        ),
        Case::new(
            "another pod's, IPv6",
            SpoofedAddress,
            "a",
            &frame("fd01:0:0:2::6", "fd01:0:0:2::8"),
        ),
        Case {
            from: Some("a"), // its project is known by the address; the network is not looked up any more
            ..Case::new(
                "another MAC address",
                SpoofedMac,
                "a",
                &frame(A, "10.128.2.8").mac([2, 0, 0, 0, 0, 1]),
            )
        },
        Case::new(
            "to a node's overlay port",
            ForgedOverlay,
            "a",
            &frame(A, "192.168.50.12").udp(VXLAN_PORT),
        )
        .from("a"),
        Case::new(
            "the same from a global project",
            ForgedOverlay,
            "g",
            &frame("10.128.2.8", "10.128.4.1").udp(VXLAN_PORT),
        )
        .from("g"),
    ]
}

pub fn cases() -> Vec<Case> {
    [
        frames_and_spoofing(),
        admission::admission(),
        destinations::destinations(),
        firewall::firewall(),
        unfit::unfit(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
