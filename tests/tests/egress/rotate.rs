//! Ten thousand lookups, each of a new address, each followed at once by a connection to it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use weft_lab::dns::Change;
use weft_lab::lab::Action;
use weft_lab::probe::{Lookup, Round};
use weft_wait::SOON;

use crate::cluster::line;
use crate::field::{ALLOW_DNS, DENY_ALL, DNS, Field, ZONE, ip, outside, outside6};
use crate::party::PORT;

/// Changes. Each gives new addresses to names that rules name, and to as many below a wildcard; then each is looked up once.
const CHANGES: usize = 500;
const NAMES: usize = 10;
/// The agent is gone from this one on.
const KILLED: usize = CHANGES / 2;

#[test]
fn no_connection_to_an_address_that_was_just_told_is_refused() {
    let field = Field::new(1);
    let [pod, other] = ["a/p", "a/other"].map(|label| field.cluster.pod(label, "node1"));
    let exact: Vec<String> = (0..NAMES)
        .map(|n| format!("Allow www{n}.foo.com"))
        .collect();
    let exact: Vec<&str> = exact.iter().map(String::as_str).collect();
    let wildcard = ["Allow *.pool.foo.com"];
    field.apply("a", "names", &[&ALLOW_DNS, &exact, &wildcard, &DENY_ALL]);
    // By another pod: what it opened before the policy came, and closes after, is dropped and counted.
    field.closes(&other, outside(1));
    let lookup = Lookup::at(ip(DNS));
    let start = Instant::now();
    let rounds = pod.netns.run(|| {
        let mut rounds = Vec::with_capacity(CHANGES * NAMES * 2);
        for number in 0..CHANGES {
            if number == KILLED {
                field.cluster.agent("node1", Action::Kill).unwrap();
            }
            // The first addresses are of IPv4, each used once.
            let fresh = |name| match number {
                0..5 => outside(u8::try_from(10 + 2 * NAMES * number + name).unwrap()),
                _ => outside6(),
            };
            let fresh: Vec<IpAddr> = (0..2 * NAMES).map(fresh).collect();
            rounds.extend(round(&field, lookup, number, &fresh));
        }
        rounds
    });
    let rounds = rounds.unwrap();
    let took = start.elapsed();
    field.cluster.agent("node1", Action::Start).unwrap();
    let mut times: Vec<Duration> = rounds.iter().map(|round| round.connect).collect();
    times.sort_unstable();
    println!(
        "{} lookups with connections in {took:?}; from the answer to the server's line: median {:?}, 99 % {:?}, longest {:?}",
        rounds.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1]
    );
    // A first packet that is dropped comes again a second later: the connection alone does not show it.
    let dropped = field.cluster.pod_count("node1", "a/p", "EgressDenied");
    let recent = field.cluster.drops("node1").recent;
    let recent: Vec<String> = recent.iter().map(line).collect();
    assert_eq!(dropped, 0, "packets dropped; the latest: {recent:#?}");
    let last = rounds.last().unwrap().answer.addresses[0];
    field.open(&pod, last);
    field.denied(&pod, outside6());
}

/// One change, and a lookup with a connection for each of the addresses.
fn round(field: &Field, lookup: Lookup, number: usize, fresh: &[IpAddr]) -> Vec<Round> {
    let mut change = Change::of(ZONE);
    let mut asked = Vec::new();
    for (n, address) in fresh.iter().enumerate() {
        let (owner, name) = if n < NAMES {
            (format!("www{n}.foo.com"), format!("www{n}.foo.com"))
        } else {
            // The name itself is new each time.
            let below = format!("n{n}.pool.foo.com");
            (format!("*.{below}"), format!("w{number}.{below}"))
        };
        change = change.addresses(&owner, 0, &[*address]);
        asked.push((name, *address));
    }
    field.dns.change(&change).unwrap();
    let connect = |(name, address): (String, IpAddr)| {
        let kind = if address.is_ipv6() {
            RecordType::AAAA
        } else {
            RecordType::A
        };
        let round = lookup.connect(&name, kind, PORT, SOON).unwrap();
        assert_eq!(round.answer.addresses, [address], "{name}");
        let went = &round.outcome;
        assert!(went.reached(), "change {number}, {name}: {went:?}");
        round
    };
    asked.into_iter().map(connect).collect()
}
