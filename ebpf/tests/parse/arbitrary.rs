//! Bytes that nobody made as a packet.

use proptest::prelude::*;
use weft_ebpf::packet::{ETH_LEN, Packet, parse, parse_ip};
use weft_ebpf::reason::DropReason;

use crate::build::ethernet;

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        bytes(),
        // Further in: the first bytes are those of IP.
        (any::<bool>(), bytes()).prop_map(|(v6, mut payload)| {
            if let Some(first) = payload.first_mut() {
                *first = *first & 0x0f | if v6 { 0x60 } else { 0x40 };
            }
            if v6 && let Some(next) = payload.get_mut(6) {
                *next = [0, 43, 44, 51, 60][usize::from(*next % 5)];
            }
            ethernet(if v6 { 0x86dd } else { 0x0800 }, &payload)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// No panic, no reason of the wrong kind, and never a port without a protocol that has ports.
    #[test]
    fn any_bytes_are_parsed_or_refused(frame in frame()) {
        let mut packet = Packet::default();
        let _bare = parse_ip(&frame[..], &mut Packet::default());
        match parse(&frame[..], &mut packet) {
            Ok(()) => prop_assert!(
                matches!(packet.proto, 6 | 17 | 132) || (packet.src_port, packet.dst_port) == (0, 0)
            ),
            Err(reason) => prop_assert!(matches!(
                reason,
                DropReason::NotIp | DropReason::Malformed | DropReason::TooManyHeaders
            )),
        }
    }

    /// What netfilter has of a frame is the same packet, but for the MAC address.
    #[test]
    fn without_its_ethernet_header_it_is_the_same_packet(frame in frame()) {
        let (mut whole, mut bare) = (Packet::default(), Packet::default());
        if parse(&frame[..], &mut whole).is_ok() {
            whole.src_mac = [0; 6];
            prop_assert_eq!(parse_ip(&frame[ETH_LEN..], &mut bare), Ok(()));
            prop_assert_eq!(whole, bare);
        }
    }

    /// More bytes behind a packet change nothing that was found, but for ports and flags that were cut off.
    #[test]
    fn a_longer_frame_is_the_same_packet(frame in frame(), more in prop::collection::vec(any::<u8>(), 1..40)) {
        let (mut short, mut long) = (Packet::default(), Packet::default());
        if parse(&frame[..], &mut short).is_ok() {
            let whole = [frame, more].concat();
            prop_assert_eq!(parse(&whole[..], &mut long), Ok(()));
            if (short.src_port, short.dst_port) == (0, 0) {
                (long.src_port, long.dst_port) = (0, 0);
            }
            // What tells whether it opens a connection may have been cut off as well.
            if short.opens == 0 {
                long.opens = 0;
            }
            // And what an ICMP error quotes.
            (short.unfit, long.unfit) = (0, 0);
            prop_assert_eq!(short, long);
        }
    }
}
