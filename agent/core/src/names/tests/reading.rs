//! Records to addresses.

use std::time::Duration;

use super::super::{Family, Record, RecordData};
use super::scene::{family, ip, name};

fn a(owner: &str, ttl: u64, address: &str) -> Record {
    Record {
        owner: owner.into(),
        ttl: Duration::from_secs(ttl),
        data: RecordData::Address(ip(address)),
    }
}

fn alias(owner: &str, ttl: u64, target: &str) -> Record {
    Record {
        owner: owner.into(),
        ttl: Duration::from_secs(ttl),
        data: RecordData::Alias(target.into()),
    }
}

#[test]
fn what_counts_is_what_the_name_leads_to() {
    let www = "www.example";
    let cases = [
        (
            "plain",
            vec![a(www, 60, "10.0.0.1")],
            family(&["10.0.0.1"], 60),
        ),
        (
            "the smallest TTL, each address once",
            vec![
                a(www, 60, "10.0.0.1"),
                a(www, 20, "10.0.0.2"),
                a(www, 70, "10.0.0.1"),
            ],
            family(&["10.0.0.1", "10.0.0.2"], 20),
        ),
        (
            "aliases count, with their TTLs",
            vec![
                alias(www, 5, "a.cdn"),
                alias("a.cdn", 300, "b.cdn"),
                a("b.cdn", 60, "10.0.0.1"),
            ],
            family(&["10.0.0.1"], 5),
        ),
        (
            "in any order",
            vec![
                a("b.cdn", 60, "10.0.0.1"),
                alias("a.cdn", 30, "b.cdn"),
                alias(www, 300, "a.cdn"),
            ],
            family(&["10.0.0.1"], 30),
        ),
        (
            "records of other names do not count, nor do their TTLs",
            vec![
                a(www, 60, "10.0.0.1"),
                a("evil.example", 1, "10.6.6.6"),
                alias("x", 1, "y"),
            ],
            family(&["10.0.0.1"], 60),
        ),
        ("nothing", vec![], Family::Nothing),
        (
            "an alias that leads nowhere",
            vec![alias(www, 60, "gone")],
            Family::Nothing,
        ),
        (
            "a ring of aliases",
            vec![alias(www, 60, "b"), alias("b", 60, www)],
            Family::Nothing,
        ),
        (
            "an alias to what is no host name",
            vec![
                alias(www, 60, "a\\032b.example"),
                a("a\\032b.example", 60, "10.0.0.1"),
            ],
            family(&["10.0.0.1"], 60),
        ),
        (
            "IPv6",
            vec![a(www, 9, "2001:db8::1")],
            family(&["2001:db8::1"], 9),
        ),
        (
            "a mapped address is the IPv4 address that packets will have",
            vec![a(www, 9, "::ffff:10.0.0.1")],
            family(&["10.0.0.1"], 9),
        ),
    ];
    for (story, records, expected) in cases {
        assert_eq!(Family::of(&name(www), &records), expected, "{story}");
    }
}
