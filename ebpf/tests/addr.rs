//! Addresses as keys.
#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_ebpf::addr::{Addr, mapped_bits};

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<IpAddr>().unwrap())
}

#[test]
fn ipv4_is_mapped_and_comes_back() {
    for (text, bytes) in [
        ("0.0.0.0", [0, 0, 0, 0]),
        ("10.128.2.9", [10, 128, 2, 9]),
        ("255.255.255.255", [255; 4]),
    ] {
        let ip: Ipv4Addr = text.parse().unwrap();
        assert_eq!(
            addr(text).0,
            ip.to_ipv6_mapped().octets(),
            "RFC 4291 section 2.5.5.2"
        );
        assert_eq!(addr(text), Addr::v4(bytes));
        assert_eq!(addr(text).as_v4(), Some(bytes));
        assert_eq!(addr(text).to_ip(), IpAddr::V4(ip), "{text}");
    }
}

#[test]
fn ipv6_stays_as_it_is() {
    // The second to last is IPv4-compatible, not mapped; the last is next to the mapped range.
    for text in [
        "::",
        "::1",
        "fd01::2:3",
        "ff02::1",
        "::10.0.0.1",
        "::fffe:a00:1",
    ] {
        let ip: Ipv6Addr = text.parse().unwrap();
        assert_eq!(addr(text).0, ip.octets());
        assert_eq!(addr(text).as_v4(), None, "{text} is no IPv4 address");
        assert_eq!(addr(text).to_ip(), IpAddr::V6(ip));
    }
}

/// A mapped address in an IPv6 header has the key of the IPv4 address: neither family can hide from the other's rows.
#[test]
fn a_mapped_address_has_one_key() {
    assert_eq!(addr("::ffff:10.0.0.1"), addr("10.0.0.1"));
}

#[test]
fn prefix_lengths_count_on_the_mapped_form() {
    let v4 = "10.0.0.0".parse().unwrap();
    let v6 = "fd01::".parse().unwrap();
    assert_eq!(
        [0, 14, 32].map(|bits| mapped_bits(&v4, bits)),
        [96, 110, 128]
    );
    assert_eq!(
        [0, 48, 128].map(|bits| mapped_bits(&v6, bits)),
        [0, 48, 128]
    );
}

/// Bit by bit, as slowly as can be.
fn masked_slowly(addr: Addr, bits: u32) -> Addr {
    let mut out = [0; 16];
    for bit in 0..bits.min(128) as usize {
        out[bit / 8] |= addr.0[bit / 8] & (0x80 >> (bit % 8));
    }
    Addr(out)
}

#[test]
fn masked_keeps_the_first_bits_at_every_length() {
    let samples = [
        Addr([0xff; 16]),
        Addr([0; 16]),
        Addr([0xa5; 16]),
        addr("10.131.255.254"),
        addr("fd01:2:3:4:5:6:7:8"),
        addr("8000:0000:0000:0001:8000::1"),
    ];
    for sample in samples {
        for bits in 0..=128 {
            assert_eq!(
                sample.masked(bits),
                masked_slowly(sample, bits),
                "{} /{bits}",
                sample.to_ip()
            );
        }
        // A row that says more than 128 must not be a shift beyond the word.
        for bits in 129..=255 {
            assert_eq!(sample.masked(bits), sample, "/{bits}");
        }
    }
}

#[test]
fn multicast_by_family() {
    for (text, multicast, link_local_v6) in [
        ("223.255.255.255", false, false),
        ("224.0.0.0", true, false),
        ("224.0.0.1", true, false), // link-local, but of IPv4
        ("239.255.255.255", true, false),
        ("240.0.0.0", false, false),
        ("255.255.255.255", false, false),
        ("fe80::1", false, false),
        ("ff00::", true, false),
        ("ff01::1", true, false),
        ("ff02::1", true, true),
        ("ff12::1", true, true), // transient, the same scope
        ("ff05::2", true, false),
        ("ffff::", true, false),
        ("::ffff:224.0.0.1", true, false),
        ("::", false, false),
    ] {
        assert_eq!(addr(text).is_multicast(), multicast, "{text}");
        assert_eq!(
            addr(text).is_link_local_multicast_v6(),
            link_local_v6,
            "{text}"
        );
    }
}

/// Keys must sort and compare as their bytes do, since maps in the kernel compare bytes.
#[test]
fn order_is_that_of_the_bytes() {
    assert!(addr("9.255.255.255") < addr("10.0.0.0"));
    assert!(addr("10.0.0.0") < addr("fd01::"));
    assert_eq!(Addr::UNSPECIFIED, addr("::"));
}
