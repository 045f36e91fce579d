//! Names as people write them and resolvers ask for them.

use weft_lab::dns::{Cache, Change, relay::play};
use weft_lab::probe::Lookup;

use crate::field::{
    ALLOW_DNS, CACHE, DENY_ALL, DNS, DNS6, Field, RELAY, connects, ip, outside, outside6,
};
use crate::field::{ZONE, look_up};

const RULES: [&str; 2] = ["Allow WWW.Foo.COM.", "Allow *.pool.foo.com"];

#[test]
fn names_match_in_any_case_with_and_without_a_dot_and_below_a_wildcard() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let plain = Lookup::at(ip(DNS));
    field.apply("a", "names", &[&ALLOW_DNS, &RULES, &DENY_ALL]);
    field.closes(&pod, outside(1));
    let upper = Lookup {
        upper_case: true,
        ..plain
    };
    let ways = [
        plain,
        upper,
        Lookup { tcp: true, ..plain },
        Lookup {
            payload: Some(4_096),
            ..upper
        },
        Lookup::at(ip(DNS6)),
        Lookup::at(ip(RELAY)),
    ];
    // The relay turns the case of letters, as servers do that check whether a resolver minds.
    field.relay.play(play::recased());
    let names = [
        "www.foo.com",
        "www.foo.com.",
        "x.pool.foo.com",
        "y.Z.pool.foo.com.",
    ];
    for way in ways {
        for name in names {
            for ipv6 in [false, true] {
                // An address that nobody ever had: that it gets out is this lookup's doing.
                let fresh = if ipv6 { outside6() } else { fresh() };
                field.set(name, 1, &[fresh]);
                let round = connects(&pod, way, name, ipv6);
                assert_eq!(round.answer.addresses, [fresh], "{name} {way:?}");
            }
        }
    }
    // What is near a name is another name.
    for name in [
        "foo.com",
        "www.www.foo.com",
        "pool.foo.com",
        "xpool.foo.com",
    ] {
        let other = outside6();
        let change = Change::of(ZONE).addresses(name, 60, &[other]);
        field
            .dns
            .change(&change)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = look_up(&pod, plain, name, true);
        assert_eq!(answer.addresses, [other]);
        field.denied(&pod, other);
    }
    let status = field.cluster.agent_status("node1");
    assert_eq!(status.problems, []);
}

/// A new address of the host outside, in IPv4.
fn fresh() -> std::net::IpAddr {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(10);
    outside(NEXT.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn answers_of_a_cache_count_and_so_do_aliases() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let place = field.cluster.host_netns("dns").unwrap();
    let _cache = Cache::start(&place, ip(CACHE), ip(DNS)).unwrap();
    let lookup = Lookup::at(ip(CACHE));
    field.apply("a", "names", &[&ALLOW_DNS, &RULES, &DENY_ALL]);
    field.closes(&pod, outside(1));
    // www.foo.com -> cdn.foo.com -> the addresses, which rotate.
    let alias = Change::of(ZONE).alias("www.foo.com", 60, "cdn.foo.com");
    field.dns.change(&alias).unwrap();
    for ipv6 in [false, true, true, true] {
        let pool = [outside(2), outside6()];
        let rotate = Change::of(ZONE).addresses("cdn.foo.com", 0, &pool);
        field.dns.change(&rotate).unwrap();
        let round = connects(&pod, lookup, "www.foo.com", ipv6);
        assert_eq!(round.answer.addresses, [pool[usize::from(ipv6)]]);
    }
    // The alias's own name is allowed to nobody.
    let other = outside6();
    let change = Change::of(ZONE).addresses("cdn.foo.com", 0, &[other]);
    field.dns.change(&change).unwrap();
    look_up(&pod, lookup, "cdn.foo.com", true);
    field.denied(&pod, other);
    // From the cache's memory, with what is left of the TTL: the second pod learns it, too.
    field.set("www.foo.com", 60, &[outside6()]);
    let friend = field.cluster.pod("a/friend", "node1");
    let first = look_up(&pod, lookup, "www.foo.com", true);
    connects(&friend, lookup, "www.foo.com", true);
    field.open(&pod, first.addresses[0]);
}
