//! What no pod may send, whatever its addresses.

use weft_ebpf::packet::proto::{ICMP, ICMPV6, TCP, UDP};
use weft_ebpf::reason::DropReason;

use crate::build::*;

const MORE: u16 = 0x2000;
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// An ICMP message of a type with a packet of its family behind it, between two addresses.
fn quoting(kind: u8, src: &[u8], dst: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 2, 88];
    if src.len() == 4 {
        message.extend([0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, UDP, 0, 0]);
    } else {
        message.extend([0x60, 0, 0, 0, 0, 64, UDP, 64]);
    }
    message.extend(src);
    message.extend(dst);
    message.extend(L4);
    message
}

#[track_caller]
fn unfit(frame: &[u8]) -> Option<DropReason> {
    parsed(frame).unwrap().unfit()
}

const FORGED: Option<DropReason> = Some(DropReason::ForgedIcmpError);

/// Every type, about the pod's own packet and about others: what the receiver sent to the sender may be reported.
#[test]
fn errors_are_about_the_receivers_packets_to_the_pod() {
    let other = ([10, 128, 2, 9], [0xfd; 16]);
    for kind in 0..=u8::MAX {
        let error = ERRORS.contains(&kind);
        for (src, dst, own, why) in [
            (DST_V4, SRC_V4, true, "from the receiver to the pod"),
            (SRC_V4, DST_V4, false, "from the pod to the receiver"),
            (DST_V4, other.0, false, "from the receiver to another"),
            (other.0, SRC_V4, false, "from another to the pod"),
        ] {
            let fits = !error || own && kind != 5;
            let found = unfit(&ipv4(ICMP, &[], 0, &quoting(kind, &src, &dst)));
            assert_eq!(
                found,
                if fits { None } else { FORGED },
                "type {kind}, {why}"
            );
        }
        for (src, dst, own, why) in [
            (DST_V6, SRC_V6, true, "from the receiver to the pod"),
            (SRC_V6, DST_V6, false, "from the pod to the receiver"),
            (DST_V6, other.1, false, "from the receiver to another"),
            (other.1, SRC_V6, false, "from another to the pod"),
        ] {
            let expected = match kind {
                137 => FORGED,
                133..=136 => Some(DropReason::LinkLocal),
                0..128 if !own => FORGED,
                _ => None,
            };
            let message = quoting(kind, &src, &dst);
            let chain = [options(DESTINATION, 2), fragment(0, false)];
            for frame in [ipv6(&[], ICMPV6, &message), ipv6(&chain, ICMPV6, &message)] {
                assert_eq!(unfit(&frame), expected, "type {kind}, {why}, IPv6");
            }
        }
    }
}

/// What is cut before the quoted addresses, or may be continued by a fragment, or quotes another family, shows nothing.
#[test]
fn errors_that_do_not_show_what_they_are_about() {
    let v4 = quoting(3, &DST_V4, &SRC_V4);
    let v6 = quoting(2, &DST_V6, &SRC_V6);
    for len in 1..v4.len() {
        let shown = if len < 8 + 20 { FORGED } else { None };
        assert_eq!(unfit(&ipv4(ICMP, &[], 0, &v4[..len])), shown, "{len}");
        assert_eq!(unfit(&ipv4(ICMP, &[], MORE, &v4[..len])), FORGED, "{len}");
    }
    for len in 1..v6.len() {
        let shown = if len < 8 + 40 { FORGED } else { None };
        assert_eq!(unfit(&ipv6(&[], ICMPV6, &v6[..len])), shown, "{len}");
        let first = [fragment(0, true)];
        assert_eq!(unfit(&ipv6(&first, ICMPV6, &v6[..len])), FORGED, "{len}");
    }
    let (mut version4, mut version6) = (v4, v6);
    version4[8] = 0x65;
    version6[8] = 0x45;
    assert_eq!(unfit(&ipv4(ICMP, &[], 0, &version4)), FORGED);
    assert_eq!(unfit(&ipv6(&[], ICMPV6, &version6)), FORGED);
    // Without a first byte it is no error, and with the next fragment at the same place that one shows it.
    assert_eq!(unfit(&ipv4(ICMP, &[], MORE, &[])), None);
}

#[test]
fn routes_of_the_packets_own() {
    const ROUTE: Option<DropReason> = Some(DropReason::SourceRoute);
    let router_alert = [0x94, 4, 0, 0];
    for (options, expected, why) in [
        (&[][..], None, "no options"),
        (&router_alert, None, "router alert, as IGMP has it"),
        (&[0x83, 7, 4, 1, 2, 3, 4, 0], ROUTE, "a loose source route"),
        (&[0x89, 7, 4, 1, 2, 3, 4, 0], ROUTE, "a strict one"),
        (&[1, 0x83, 3, 4], ROUTE, "behind another option"),
        (&[7, 4, 4, 0], ROUTE, "record route"),
        (
            &[0x94, 4, 0, 0, 0x83, 3, 4, 0],
            ROUTE,
            "behind router alert",
        ),
    ] {
        for proto in [TCP, UDP, ICMP] {
            assert_eq!(unfit(&ipv4(proto, options, 0, &[8; 20])), expected, "{why}");
        }
    }
    for (left, expected) in [(0, None), (1, ROUTE), (255, ROUTE)] {
        for kind in [0, 2, 3, 4] {
            let header = (
                ROUTING,
                vec![0, 2, kind, left].into_iter().chain([0; 20]).collect(),
            );
            for chain in [
                vec![header.clone()],
                vec![options(HOP_BY_HOP, 1), header.clone(), fragment(3, true)],
                vec![header.clone(), options(DESTINATION, 1)],
            ] {
                let found = unfit(&ipv6(&chain, TCP, &[0; 20]));
                assert_eq!(found, expected, "type {kind}, {left} segments left");
            }
        }
    }
}

/// How much of its packet a fragment holds: what its sender's place in a shared memory is bounded by.
#[test]
fn fragments_show_how_much_they_hold() {
    let payload = |frame: &[u8]| parsed(frame).unwrap().payload;
    let data = [7; 24];
    assert_eq!(payload(&ipv4(UDP, &[], 0, &data)), 0, "not a fragment");
    assert_eq!(payload(&ipv4(UDP, &[], MORE, &data)), 24);
    assert_eq!(payload(&ipv4(UDP, &[0x94, 4, 0, 0], 3, &data)), 24);
    assert_eq!(payload(&ipv6(&[], UDP, &data)), 0, "not a fragment");
    for chain in [
        vec![fragment(0, true)],
        vec![options(HOP_BY_HOP, 2), fragment(3, true)],
    ] {
        assert_eq!(payload(&ipv6(&chain, UDP, &data)), 24);
    }
    // Headers behind the fragment header are a part of what is fragmented.
    let chain = [fragment(0, true), options(DESTINATION, 1)];
    assert_eq!(payload(&ipv6(&chain, UDP, &data)), 24 + 8);
    let mut short = ipv4(UDP, &[], 3, &data);
    short[ETH + 2..ETH + 4].copy_from_slice(&[0, 8]);
    assert_eq!(payload(&short), 0, "a length below its own header");
}
