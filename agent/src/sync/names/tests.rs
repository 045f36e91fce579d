use weft_core::compile::compile;
use weft_core::model::{Action, Destination, EgressPolicy, EgressRule};
use weft_core::names::{Failures, Until};

use super::*;
use crate::api::fixture;

const MINUTE: Duration = Duration::from_mins(1);

fn ip(n: u8) -> IpAddr {
    [198, 51, 100, n].into()
}

fn exact() -> NamePattern {
    NamePattern::Exact("www.foo.com".parse().unwrap())
}

fn below() -> NamePattern {
    NamePattern::Below("bar.com".parse().unwrap())
}

/// A pod's project allows one name and one wildcard.
fn world() -> World {
    let mut world = fixture::world();
    let rule = |pattern| EgressRule {
        action: Action::Allow,
        to: Destination::Name(pattern),
        ports: Vec::new(),
    };
    let policy = EgressPolicy::new("shop", vec![rule(exact()), rule(below())]);
    world.take(Change::EgressPolicy(
        "shop".into(),
        "default".into(),
        Some(policy),
    ));
    world
}

fn addresses(pattern: NamePattern, last: &[u8]) -> Change {
    Change::Resolved(pattern, last.iter().copied().map(ip).collect())
}

/// Names as they are after a start, over the rows of a run that had an address for each.
fn adopted(now: Instant) -> (Names, World, Vec<Change>) {
    let mut last_run = world();
    last_run.take(addresses(exact(), &[1]));
    last_run.take(addresses(below(), &[2]));
    let rows = compile(&last_run);
    let world = world();
    let mut names = Names::new(Limits::default());
    let changes = names.adopt(&rows, &world, now);
    let (watch, gone) = names.follow(&world);
    assert_eq!(watch, Some(BTreeSet::from([exact().name().clone()])));
    assert_eq!(gone, []);
    (names, world, changes)
}

/// Nobody asks for the names below a wildcard again: what the last run knew of them must end by itself.
#[test]
fn addresses_of_a_wildcard_from_the_last_run_end() {
    let start = Instant::now();
    let (mut names, _, changes) = adopted(start);
    assert_eq!(
        changes,
        [addresses(exact(), &[1]), addresses(below(), &[2])]
    );
    let end = names.next_end().expect("the wildcard's address ends");
    assert_eq!(end, start + 30 * MINUTE, "the longest TTL");
    assert_eq!(names.expire(start + 29 * MINUTE), []);
    assert_eq!(names.expire(end), [addresses(below(), &[])]);
    assert_eq!(
        names.next_end(),
        None,
        "the name's own address waits for an answer"
    );
}

#[test]
fn an_answer_within_that_time_counts_for_its_own_time() {
    let start = Instant::now();
    let (mut names, mut world, changes) = adopted(start);
    for change in changes {
        world.take(change);
    }
    let name = "x.bar.com".parse().unwrap();
    let told = names.once(&name, &[ip(3)], 2 * MINUTE, &world, start);
    assert_eq!(told, [addresses(below(), &[2, 3])]);
    assert_eq!(
        names.next_end(),
        Some(start + 4 * MINUTE),
        "TTL and as much grace"
    );
    assert_eq!(names.expire(start + 4 * MINUTE), [addresses(below(), &[2])]);
    assert_eq!(names.expire(start + 30 * MINUTE), [addresses(below(), &[])]);
}

/// The address of the last run goes a grace after the first answer that lacks it, and not for a failure.
#[test]
fn addresses_of_a_name_from_the_last_run_stay_until_it_is_answered() {
    let start = Instant::now();
    let (mut names, _, _) = adopted(start);
    let name = exact().name().clone();
    let failed = Resolution {
        addresses: BTreeMap::new(),
        state: NameState::Unresolved {
            since: start,
            error: Some(Failures::default()),
            next_try: start,
        },
    };
    let change = names.changed(name.clone(), &failed, start);
    assert_eq!(change, Some(addresses(exact(), &[1])));
    let ttl = Duration::from_secs(5);
    let answered = Resolution {
        addresses: BTreeMap::from([(ip(4), Until::Held)]),
        state: NameState::Resolved {
            ttl,
            answered: start,
            next_refresh: start + ttl,
            server: ([192, 0, 2, 53], 53).into(),
            missing: None,
        },
    };
    let change = names.changed(name, &answered, start);
    assert_eq!(change, Some(addresses(exact(), &[1, 4])));
    let end = start + MINUTE / 2;
    assert_eq!(names.next_end(), Some(end), "one TTL, at least 30 s");
    assert_eq!(names.expire(end), [addresses(exact(), &[4])]);
}

#[test]
fn a_name_is_unheard_of_until_it_is_answered_or_fails() {
    let start = Instant::now();
    let mut names = Names::new(Limits::default());
    names.follow(&world());
    let name = exact().name().clone();
    assert_eq!(names.unheard(), BTreeSet::from([name.clone()]));
    let failed = Resolution {
        addresses: BTreeMap::new(),
        state: NameState::Unresolved {
            since: start,
            error: Some(Failures::default()),
            next_try: start,
        },
    };
    names.changed(name, &failed, start);
    assert_eq!(names.unheard(), BTreeSet::new());
}
