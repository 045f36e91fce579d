//! What is below IP.

use weft_ebpf::reason::DropReason;

use crate::build::*;

#[test]
fn what_is_not_ip_is_told_apart() {
    let inner = ipv4(6, &[], 0, &L4);
    let mut tag = vec![0, 100];
    tag.extend(&inner[12..]);
    for (kind, what) in [
        (0x0806, "ARP"),
        (
            0x8100,
            "802.1Q: a VLAN tag may not carry IP past the checks",
        ),
        (0x88a8, "802.1ad"),
        (0x8847, "MPLS"),
        (0x88cc, "LLDP"),
        (0x0000, "802.3 length"),
        (0xffff, "unassigned"),
    ] {
        assert_eq!(
            parsed(&ethernet(kind, &tag)),
            Err(DropReason::NotIp),
            "{what}"
        );
    }
}

#[test]
fn a_frame_without_a_whole_ethernet_header_is_malformed() {
    for len in 0..ETH {
        let frame = &ipv4(6, &[], 0, &L4)[..len];
        assert_eq!(parsed(frame), Err(DropReason::Malformed), "{len} bytes");
    }
}

/// The event of a spoofed packet must show where it came from, whatever else is wrong with it.
#[test]
fn the_source_mac_address_is_read_first() {
    use weft_ebpf::packet::{Packet, parse};
    let mut packet = Packet::default();
    let frame = ethernet(0x0806, &[0; 28]);
    assert_eq!(parse(&frame[..], &mut packet), Err(DropReason::NotIp));
    assert_eq!(packet.src_mac, SRC_MAC);
}
