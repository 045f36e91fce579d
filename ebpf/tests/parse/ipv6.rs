//! IPv6 (RFC 8200) and its extension headers.

use weft_ebpf::addr::Addr;
use weft_ebpf::packet::proto::{SCTP, TCP, UDP};
use weft_ebpf::packet::{Packet, parse};
use weft_ebpf::reason::DropReason;

use crate::build::*;

const NONE: (u16, u16) = (0, 0);
const ICMPV6: u8 = 58;

#[test]
fn a_plain_packet() {
    let packet = parsed(&ipv6(&[], TCP, &L4)).unwrap();
    assert_eq!(packet.src_mac, SRC_MAC);
    assert_eq!(packet.src, Addr(SRC_V6));
    assert_eq!(packet.dst, Addr(DST_V6));
    assert_eq!((packet.src_port, packet.dst_port), PORTS);
    assert_eq!(packet.proto, TCP);
}

#[test]
fn ports_of_the_protocols_that_have_them() {
    let extensions = [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION];
    for proto in (0..=255).filter(|proto| !extensions.contains(proto)) {
        let ports = if matches!(proto, TCP | UDP | SCTP) {
            PORTS
        } else {
            NONE
        };
        assert_ports(&ipv6(&[], proto, &L4), proto, ports, "by protocol");
    }
}

#[test]
fn each_extension_header_is_walked_by_its_own_length() {
    for number in [HOP_BY_HOP, ROUTING, DESTINATION] {
        for units in [1, 2, 3, 32] {
            let frame = ipv6(&[options(number, units)], UDP, &L4);
            assert_ports(
                &frame,
                UDP,
                PORTS,
                &format!("header {number}, {units} units of 8 bytes"),
            );
        }
    }
    for icv_words in [0, 1, 3, 4] {
        let frame = ipv6(&[authentication(icv_words)], UDP, &L4);
        assert_ports(
            &frame,
            UDP,
            PORTS,
            &format!("authentication, {icv_words} words of ICV"),
        );
    }
}

#[test]
fn chains() {
    let everything = [
        options(HOP_BY_HOP, 1),
        options(DESTINATION, 2),
        options(ROUTING, 3),
        fragment(0, true),
        authentication(3),
    ];
    for len in 0..=everything.len() {
        for proto in [UDP, TCP, SCTP, ICMPV6] {
            let ports = if proto == ICMPV6 { NONE } else { PORTS };
            let why = format!("{len} headers before {proto}");
            assert_ports(&ipv6(&everything[..len], proto, &L4), proto, ports, &why);
        }
    }
}

#[test]
fn only_the_first_fragment_has_ports() {
    for (offset, more, ports) in [
        (0, true, PORTS),
        (0, false, PORTS), // an atomic fragment, RFC 6946
        (1, true, NONE),
        (1, false, NONE),
        (0x1fff, false, NONE),
    ] {
        let chain = [options(HOP_BY_HOP, 1), fragment(offset, more)];
        let why = format!("offset {offset}, more {more}");
        assert_ports(&ipv6(&chain, UDP, &L4), UDP, ports, &why);
        let packet = parsed(&ipv6(&chain, UDP, &L4)).unwrap();
        let found = (packet.is_first_fragment(), packet.is_later_fragment());
        assert_eq!(found, (offset == 0 && more, offset != 0), "{why}");
        assert_eq!(packet.ident, 0x1234 ^ 0x5678, "{why}");
    }
}

/// What follows the header of a later fragment is the middle of something: it must not be read as headers.
#[test]
fn nothing_is_walked_after_a_later_fragment() {
    let middle = [0xff; 4];
    for next in [HOP_BY_HOP, ROUTING, DESTINATION, AUTHENTICATION, FRAGMENT] {
        let frame = ipv6(&[fragment(3, true)], next, &middle);
        assert_ports(&frame, next, NONE, &format!("fragment of header {next}"));
    }
}

/// A destination option inside an upper-layer header does not make one: ESP and "no next header" end the chain.
#[test]
fn the_chain_ends_at_what_cannot_be_read() {
    for end in [50, 59, 135] {
        let frame = ipv6(&[options(HOP_BY_HOP, 1)], end, &L4);
        assert_ports(&frame, end, NONE, &format!("header {end}"));
    }
}

#[test]
fn too_many_headers_are_refused_with_their_addresses_known() {
    for count in 0..12 {
        let chain = vec![options(DESTINATION, 1); count];
        let frame = ipv6(&chain, UDP, &L4);
        let mut packet = Packet::default();
        let result = parse(&frame[..], &mut packet);
        // Five headers, and the upper layer's is the sixth that is looked at.
        if count < 6 {
            assert_eq!(result, Ok(()), "{count} headers");
            assert_eq!(packet.dst_port, PORTS.1, "{count} headers");
        } else {
            assert_eq!(result, Err(DropReason::TooManyHeaders), "{count} headers");
            assert_eq!(
                (packet.src, packet.dst),
                (Addr(SRC_V6), Addr(DST_V6)),
                "for the event"
            );
        }
    }
}

#[test]
fn another_version_is_malformed() {
    for version in (0..16).filter(|version| *version != 6) {
        let mut frame = ipv6(&[], TCP, &L4);
        frame[ETH] = version << 4;
        assert_eq!(
            parsed(&frame),
            Err(DropReason::Malformed),
            "version {version}"
        );
    }
}

#[test]
fn truncated_at_every_length() {
    let chain = [options(HOP_BY_HOP, 2), fragment(0, true), authentication(1)];
    let frame = ipv6(&chain, UDP, &L4);
    let fixed = ETH + 40;
    let starts = [fixed, fixed + 16, fixed + 24];
    let upper = fixed + 16 + 8 + 16;
    for len in 0..=frame.len() {
        // Of each header eight bytes must be there, which the shortest has; then the upper layer may be missing.
        let whole = len >= fixed && starts.iter().all(|start| len >= start + 8);
        if whole {
            let ports = if len >= upper + 4 { PORTS } else { NONE };
            assert_ports(&frame[..len], UDP, ports, &format!("{len} bytes"));
        } else {
            assert_eq!(
                parsed(&frame[..len]),
                Err(DropReason::Malformed),
                "{len} bytes"
            );
        }
    }
}
