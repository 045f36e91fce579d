//! Ten thousand lookups, each of a new address, each followed at once by a connection to it.

use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use weft_tests::dns::Change;
use weft_tests::lab::Action;
use weft_tests::probe::{Lookup, Round};

use crate::cluster::DEADLINE;
use crate::field::{ALLOW_DNS, DENY_ALL, DNS, Field, ZONE, ip, outside, outside6};
use crate::party::PORT;

/// Changes, each followed by two lookups: of a name of its own and of one below a wildcard.
const CHANGES: usize = 5_000;
/// Of these the agent is gone from one in the middle on.
const KILLED: usize = CHANGES / 2;
const RULES: [&str; 2] = ["Allow www.foo.com", "Allow *.pool.foo.com"];

#[test]
fn no_connection_to_an_address_that_was_just_told_is_refused() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    field.apply("a", "names", &[&ALLOW_DNS, &RULES, &DENY_ALL]);
    field.closes(&pod, outside(1));
    let before = field.cluster.pod_count("node1", "a/p", "EgressDenied");
    let lookup = Lookup::at(ip(DNS));
    let start = Instant::now();
    let round = |name: &str, number: usize| -> Round {
        let fresh = if number < 50 {
            fresh4(name, number)
        } else {
            outside6()
        };
        let kind = if fresh.is_ipv6() {
            RecordType::AAAA
        } else {
            RecordType::A
        };
        let owner = if name == "www.foo.com" {
            name
        } else {
            "*.pool.foo.com"
        };
        let change = Change::of(ZONE).addresses(owner, 0, &[fresh]);
        field.dns.change(&change).unwrap();
        let round = lookup.connect(name, kind, PORT, DEADLINE).unwrap();
        assert_eq!(round.answer.addresses, [fresh]);
        assert!(
            round.outcome.reached(),
            "{number} {name}: {:?}",
            round.outcome
        );
        round
    };
    let rounds = pod.netns.run(|| {
        let mut rounds = Vec::with_capacity(2 * CHANGES);
        for number in 0..CHANGES {
            if number == KILLED {
                field.cluster.agent("node1", Action::Kill).unwrap();
            }
            rounds.push(round("www.foo.com", number));
            rounds.push(round(&format!("w{number}.pool.foo.com"), number));
        }
        rounds
    });
    let rounds = rounds.unwrap();
    let took = start.elapsed();
    field.cluster.agent("node1", Action::Start).unwrap();
    // A first packet that is dropped comes again a second later: the connection alone does not show it.
    let dropped = field.cluster.pod_count("node1", "a/p", "EgressDenied") - before;
    assert_eq!(dropped, 0, "packets of {} connections", rounds.len());
    let mut times: Vec<Duration> = rounds.iter().map(|round| round.connect).collect();
    times.sort_unstable();
    println!(
        "{} lookups with connections in {took:?}; from the answer to the server's line: median {:?}, 99 % {:?}, longest {:?}",
        rounds.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1]
    );
    let last = rounds.last().unwrap().answer.addresses[0];
    field.open(&pod, last);
    field.denied(&pod, outside6());
}

/// The first addresses are of IPv4: 100 of them, each used once.
fn fresh4(name: &str, number: usize) -> std::net::IpAddr {
    let odd = u8::from(name != "www.foo.com");
    outside(10 + 2 * u8::try_from(number).unwrap() + odd)
}
