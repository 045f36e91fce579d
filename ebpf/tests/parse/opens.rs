//! Which packets can be the first of a connection.

use weft_ebpf::packet::proto::{ICMP, ICMPV6, SCTP, TCP, UDP};

use crate::build::*;

const MORE: u16 = 0x2000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const DATA_OFFSET: u8 = 0x50;

/// RFC 9293: ports, sequence and acknowledgment numbers, data offset, flags, window, checksum, urgent pointer.
fn tcp(flags: u8) -> Vec<u8> {
    let mut header = L4[..4].to_vec();
    header.extend([0xff; 8]);
    header.extend([DATA_OFFSET, flags, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

#[track_caller]
fn opens(frame: &[u8]) -> bool {
    match parsed(frame).unwrap().opens {
        0 => false,
        1 => true,
        other => panic!("{other} is neither yes nor no"),
    }
}

/// Every combination of flags: SYN counts, ACK makes it an answer, the others say nothing.
#[test]
fn tcp_opens_with_a_syn_alone() {
    for flags in 0..=u8::MAX {
        let expected = flags & SYN != 0 && flags & ACK == 0;
        let segment = tcp(flags);
        let chain = [options(HOP_BY_HOP, 1), fragment(0, true), authentication(3)];
        for frame in [
            ipv4(TCP, &[], 0, &segment),
            ipv4(TCP, &[SYN; 40], MORE, &segment),
            ipv6(&[], TCP, &segment),
            ipv6(&chain, TCP, &segment),
        ] {
            assert_eq!(opens(&frame), expected, "flags {flags:#04x}");
            let packet = parsed(&frame).unwrap();
            assert_eq!(
                (packet.src_port, packet.dst_port),
                PORTS,
                "flags {flags:#04x}"
            );
        }
    }
}

/// A first fragment may end before the flags: what does not show that it opens a connection does not.
#[test]
fn tcp_cut_before_its_flags_opens_nothing() {
    let segment = tcp(SYN);
    for len in 0..=segment.len() {
        for frame in [
            ipv4(TCP, &[], MORE, &segment[..len]),
            ipv6(&[fragment(0, true)], TCP, &segment[..len]),
        ] {
            assert_eq!(opens(&frame), len > 13, "{len} bytes");
            let packet = parsed(&frame).unwrap();
            let ports = if len < 4 { (0, 0) } else { PORTS };
            assert_eq!((packet.src_port, packet.dst_port), ports, "{len} bytes");
        }
    }
}

/// Types of one family mean something else, or nothing, in the other: 128 is no type of ICMP, and 8 is an error of ICMPv6.
#[test]
fn icmp_opens_with_an_echo_request_of_its_family() {
    for kind in 0..=u8::MAX {
        let message = [kind, 0, 0, 0, 0, 1, 0, 1];
        assert_eq!(
            opens(&ipv4(ICMP, &[], 0, &message)),
            kind == 8,
            "type {kind}"
        );
        assert_eq!(
            opens(&ipv6(&[], ICMPV6, &message)),
            kind == 128,
            "type {kind}, ICMPv6"
        );
        let chain = [options(DESTINATION, 2)];
        assert_eq!(
            opens(&ipv6(&chain, ICMPV6, &message)),
            kind == 128,
            "type {kind}, options"
        );
    }
    assert!(!opens(&ipv4(ICMP, &[], 0, &[])), "no type");
    assert!(!opens(&ipv6(&[], ICMPV6, &[])), "no type, ICMPv6");
}

/// Their packets do not tell.
#[test]
fn any_packet_of_another_protocol_may_open() {
    let walked = [0, 43, 44, 51, 60];
    for proto in (0..=u8::MAX).filter(|p| ![ICMP, TCP, ICMPV6].contains(p)) {
        assert!(opens(&ipv4(proto, &[], 0, &L4)), "protocol {proto}");
        if !walked.contains(&proto) {
            assert!(opens(&ipv6(&[], proto, &L4)), "protocol {proto}, IPv6");
        }
    }
    assert!(opens(&ipv4(UDP, &[], 0, &[])), "ports or not");
}

#[test]
fn a_later_fragment_opens_nothing() {
    for proto in [ICMP, TCP, UDP, SCTP, ICMPV6, 47, 50] {
        for payload in [tcp(SYN), vec![8; 20], vec![128; 20]] {
            for offset in [1, 0x1000, 0x1fff] {
                for more in [false, true] {
                    let field = offset | if more { MORE } else { 0 };
                    assert!(
                        !opens(&ipv4(proto, &[], field, &payload)),
                        "{proto} at {offset}"
                    );
                    let chain = [options(HOP_BY_HOP, 1), fragment(offset, more)];
                    assert!(
                        !opens(&ipv6(&chain, proto, &payload)),
                        "{proto} at {offset}, IPv6"
                    );
                }
            }
        }
    }
}
