//! How long answers count, and which place they take.

use weft_ebpf::dns::lease::{SECOND, place, span, ttl};
use weft_ebpf::rows::NodeRow;
use weft_ebpf::rows::egress::LearnedName;

fn node(dns_min_ttl: u32, dns_grace: u32) -> NodeRow {
    NodeRow {
        dns_min_ttl,
        dns_grace,
        ..NodeRow::default()
    }
}

#[test]
fn times_to_live() {
    for (answered, floor, counts) in [
        (0, 0, 0),
        (0, 5, 5),
        (60, 5, 60),
        (1800, 5, 1800),
        (86_400, 5, 1800),
        (1, 9999, 1800),
    ] {
        assert_eq!(ttl(answered, &node(floor, 0)), counts, "{answered} {floor}");
    }
    for (ttl, grace, held) in [(5, 0, 35), (30, 0, 60), (300, 0, 600), (300, 1, 301)] {
        assert_eq!(span(ttl, &node(0, grace)), held * SECOND, "{ttl} {grace}");
    }
}

#[test]
fn places() {
    let name = |name, expires| LearnedName {
        name,
        expires,
        ..LearnedName::default()
    };
    let names = [name(1, 50), name(2, 200), name(3, 90), name(4, 300)];
    assert_eq!(place(&names, 2, 10), 1, "its own");
    assert_eq!(place(&names, 9, 10), 0, "the one that is over first");
    assert_eq!(place(&names, 9, 95), 0, "one that is over");
    let names = [name(1, 500), name(0, 0), name(9, 5), name(4, 300)];
    assert_eq!(
        place(&names, 9, 10),
        2,
        "its own, though that is over and another is free"
    );
    assert_eq!(place(&names, 8, 10), 1, "a free one");
}
