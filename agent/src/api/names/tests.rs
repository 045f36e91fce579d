use std::collections::BTreeSet;

use weft_core::model::Change;
use weft_core::names::{Failure, Failures};
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::egress::LEARNED_NAMES;

use super::super::fixture::world;
use super::*;

#[test]
fn addresses_of_a_name_are_those_of_the_project_that_are_not_over() {
    let world = world();
    let pattern = NamePattern::Exact("www.example.com".parse().unwrap());
    let name = |expires, ifindex| LearnedName {
        name: name_number(&pattern),
        expires,
        ifindex,
        ttl: 60,
    };
    let row = |first| {
        let mut names = [LearnedName::default(); LEARNED_NAMES];
        names[1] = first;
        LearnedRow {
            names,
            ..LearnedRow::default()
        }
    };
    let key = |project, last| LearnedKey {
        project: project_key(project),
        addr: Addr::v4([203, 0, 113, last]),
    };
    let now = 5_000_000_000;
    let rows = BTreeMap::from([
        (key("shop", 1), row(name(now + 7_900_000_000, 7))),
        (key("shop", 2), row(name(now, 7))),
        (key("shop", 3), row(name(now + 1, 99))),
        (key("bank", 4), row(name(now + 1, 8))),
    ]);
    let known = Known::at(BTreeMap::new(), &rows, Instant::now(), now);
    let known = known.addresses(&world, "shop", &pattern);
    let shown = known
        .iter()
        .map(|it| (it.ip.to_string(), it.pod.as_deref(), it.seconds_left));
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    let wanted = [
        ("203.0.113.1".to_owned(), Some("shop/a"), Some(7)),
        ("203.0.113.3".to_owned(), None, Some(0)),
    ];
    assert_eq!(shown, wanted);
}

#[test]
fn what_the_resolver_knows_is_shown_with_its_time_and_its_trouble() {
    let mut world = world();
    let name: DnsName = "www.example.com".parse().unwrap();
    let pattern = NamePattern::Exact(name.clone());
    let [held, leaving] = [1, 2].map(|last| IpAddr::from([203, 0, 113, last]));
    let both = BTreeSet::from([held, leaving]);
    world.take(Change::Resolved(pattern.clone(), both));
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    let server = "192.0.2.53:53".parse().unwrap();
    let resolution = Resolution {
        addresses: [(held, Until::Held), (leaving, Until::Grace(after(9)))].into(),
        state: NameState::Stale {
            since: now,
            error: Failures(vec![(server, Failure::ServFail)]),
            next_try: after(4),
            ttl: Duration::from_mins(1),
            answered: now,
            server,
        },
    };
    let known = Known::at([(name, resolution)].into(), &BTreeMap::new(), now, 0);
    let addresses = known.addresses(&world, "shop", &pattern);
    let left: Vec<_> = addresses
        .iter()
        .map(|it| (it.ip, it.seconds_left))
        .collect();
    assert_eq!(left, [(held, None), (leaving, Some(9))]);
    let state = known.state(&pattern).unwrap();
    assert_eq!((state.state, state.next), (NameWord::Stale, 4));
    assert_eq!(state.ttl, Some(60));
    assert!(state.error.contains("SERVFAIL"), "{}", state.error);
    let wildcard = NamePattern::Below("example.com".parse().unwrap());
    assert_eq!(known.state(&wildcard), None);
}
