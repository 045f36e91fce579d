//! What no pod may send, wherever it goes: errors about others' traffic, neighbour discovery, routes of its own.

use weft_ebpf::reason::DropReason::*;

use super::{A, A6};
use crate::drops::case::Case;
use crate::frames::{Frame, frame};

/// ICMP "fragmentation needed" or ICMPv6 "packet too big" about a packet between two addresses.
fn too_big(src: &str, dst: &str) -> Vec<u8> {
    let quoted = frame(src, dst).bytes()[14..].to_vec();
    let header = if src.contains(':') {
        [2, 0, 0, 0, 0, 0, 5, 0]
    } else {
        [3, 4, 0, 0, 0, 0, 2, 88]
    };
    [&header[..], &quoted].concat()
}

/// Of one reason and pod no more than have an event in one second (`ebpf/programs/src/drops.rs`).
pub fn unfit() -> Vec<Case> {
    let nodes = too_big("192.168.50.11", "192.168.50.12");
    let error = |to: &str, message: Vec<u8>| frame(A, to).icmp(message);
    let mut cases: Vec<Case> = [
        ("to its gateway", "10.128.2.1"),
        ("to another node's gateway", "10.128.4.1"),
        ("to a pod of another node", "10.128.4.5"),
        ("to a service", "172.30.0.10"),
        ("to the outside", "198.51.100.9"),
    ]
    .into_iter()
    .map(|(why, to)| Case::new(why, ForgedIcmpError, "a", &error(to, nodes.clone())).from("a"))
    .collect();
    let gateway = "10.128.2.1";
    let mut later = frame(A, gateway).udp(5000);
    later.src_port = 0;
    later.dst_port = 0;
    let mut lone = later.bytes();
    lone[20..22].copy_from_slice(&185_u16.to_be_bytes());
    cases.push(Case {
        bytes: lone,
        ..Case::new("a fragment that follows none", Fragments, "a", &later)
    });
    cases.extend([
        Case::new(
            "about a packet of the receiver to another pod",
            ForgedIcmpError,
            "a",
            &error(gateway, too_big(gateway, "10.128.2.6")),
        )
        .from("a"),
        Case::new(
            "about a packet of another sender to the pod",
            ForgedIcmpError,
            "a",
            &error(gateway, too_big("192.168.50.11", A)),
        )
        .from("a"),
        Case::new(
            "packet too big about the node's own traffic",
            ForgedIcmpError,
            "a",
            &frame(A6, "fd01:0:0:2::1").icmp(too_big("fd98:0:0:1::b", "fd98:0:0:1::c")),
        )
        .from("a"),
        Case::new(
            "a redirect about its own traffic",
            ForgedIcmpError,
            "a",
            &error(
                gateway,
                [&[5, 1, 0, 0, 10, 128, 2, 5][..], &too_big(gateway, A)[8..]].concat(),
            ),
        )
        .from("a"),
        Case::new(
            "a neighbour advertisement, not to a group",
            LinkLocal,
            "a",
            &frame(A6, "fd01:0:0:2::7")
                .icmp([&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &[0xfd; 24]].concat()),
        )
        .from("a"),
        Case::new(
            "a loose source route",
            SourceRoute,
            "a",
            &Frame {
                steering: vec![0x83, 7, 4, 198, 51, 100, 7, 0],
                ..frame(A, "198.51.100.9")
            },
        )
        .from("a"),
        Case::new(
            "a routing header with a segment left",
            SourceRoute,
            "a",
            &Frame {
                steering: [&[0, 2, 4, 1, 0, 0, 0, 0][..], &[0xfd; 16]].concat(),
                ..frame(A6, "2001:db8::9")
            },
        )
        .from("a"),
    ]);
    cases
}
