//! IPv4 (RFC 791).

use weft_ebpf::addr::Addr;
use weft_ebpf::packet::proto::{SCTP, TCP, UDP};
use weft_ebpf::reason::DropReason;

use crate::build::*;

const MORE: u16 = 0x2000;
const DONT: u16 = 0x4000;
const NONE: (u16, u16) = (0, 0);

#[test]
fn a_plain_packet() {
    let packet = parsed(&ipv4(UDP, &[], DONT, &L4)).unwrap();
    assert_eq!(packet.src_mac, SRC_MAC);
    assert_eq!(packet.src, Addr::v4(SRC_V4));
    assert_eq!(packet.dst, Addr::v4(DST_V4));
    assert_eq!((packet.src_port, packet.dst_port), PORTS);
    assert_eq!(packet.proto, UDP);
}

#[test]
fn ports_of_the_protocols_that_have_them() {
    for proto in 0..=255 {
        let ports = if matches!(proto, TCP | UDP | SCTP) {
            PORTS
        } else {
            NONE
        };
        assert_ports(&ipv4(proto, &[], 0, &L4), proto, ports, "by protocol");
    }
}

#[test]
fn ports_follow_the_options() {
    for words in 0..=10 {
        // Options full of what looks like port 0xffff: a parser that forgets them would show it.
        let options = vec![0xff; words * 4];
        assert_ports(&ipv4(TCP, &options, 0, &L4), TCP, PORTS, "options");
    }
}

#[test]
fn only_the_first_fragment_has_ports() {
    for (fragment, ports, why) in [
        (0, PORTS, "whole"),
        (DONT, PORTS, "may not be fragmented"),
        (MORE, PORTS, "first of several"),
        (0x8000, PORTS, "reserved bit"),
        (MORE | 1, NONE, "second"),
        (1, NONE, "last, at 8 bytes"),
        (0x1fff, NONE, "last, at the greatest offset"),
        (0x1000, NONE, "only the offset's top bit"),
    ] {
        assert_ports(&ipv4(UDP, &[], fragment, &L4), UDP, ports, why);
    }
}

#[test]
fn fragments_share_an_identification() {
    for (place, first, later) in [
        (0, false, false),
        (DONT, false, false),
        (MORE, true, false),
        (MORE | 1, false, true),
        (1, false, true),
    ] {
        let mut frame = ipv4(UDP, &[], place, &L4);
        frame[ETH + 4..ETH + 6].copy_from_slice(&[0xab, 0xcd]);
        let packet = parsed(&frame).unwrap();
        let found = (packet.is_first_fragment(), packet.is_later_fragment());
        assert_eq!(found, (first, later), "{place:#x}");
        assert_eq!(packet.ident, 0xabcd, "{place:#x}");
    }
}

#[test]
fn a_length_that_contradicts_the_frame_is_malformed() {
    for words in 0..5 {
        let mut frame = ipv4(TCP, &[], 0, &L4);
        frame[ETH] = 0x40 | words;
        assert_eq!(
            parsed(&frame),
            Err(DropReason::Malformed),
            "header of {words} words"
        );
    }
    for version in (0..16).filter(|version| *version != 4) {
        let mut frame = ipv4(TCP, &[], 0, &L4);
        frame[ETH] = version << 4 | 5;
        assert_eq!(
            parsed(&frame),
            Err(DropReason::Malformed),
            "version {version}"
        );
    }
}

#[test]
fn truncated_at_every_length() {
    for options in [&[][..], &[1; 40]] {
        let frame = ipv4(TCP, options, 0, &L4);
        let header = ETH + 20;
        let ports = header + options.len() + 4;
        for len in 0..=frame.len() {
            let found = parsed(&frame[..len]);
            if len < header {
                assert_eq!(found, Err(DropReason::Malformed), "{len} bytes");
            } else {
                // The addresses are known, and that is what is decided on; ports show once all four bytes are there.
                let expected = if len < ports { NONE } else { PORTS };
                assert_ports(&frame[..len], TCP, expected, &format!("{len} bytes"));
            }
        }
    }
}
