//! Records change, servers fail: what a pod was told last gets out at once, what it was told before stays for a while.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use weft_lab::dns::{Change, relay::play};
use weft_lab::lab::Action;
use weft_lab::probe::Lookup;
use weft_wait::SOON;

use crate::cluster::Pod;
use crate::field::{ALLOW_DNS, DENY_ALL, DNS, Field, OTHER_ZONE, RELAY, ZONE};
use crate::field::{connects, ip, look_up, outside, outside6};

const NAME: &str = "www.foo.com";

fn allowed() -> (Field, Pod, Lookup) {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    field.apply(
        "a",
        "names",
        &[&ALLOW_DNS, &["Allow www.foo.com"], &DENY_ALL],
    );
    field.closes(&pod, outside(1));
    (field, pod, Lookup::at(ip(DNS)))
}

/// New addresses, from the next lookup on.
fn fresh(field: &Field, ttl: u32) -> IpAddr {
    let fresh = outside6();
    field.set(NAME, ttl, &[fresh]);
    fresh
}

#[test]
fn a_new_address_gets_out_at_once_whatever_the_ttl() {
    let (field, pod, lookup) = allowed();
    for ttl in [1, 5, 60, 0, 1, 0, 5, 60, 0] {
        let fresh = fresh(&field, ttl);
        field.denied(&pod, fresh);
        let round = connects(&pod, lookup, NAME, true);
        assert_eq!(
            (round.answer.addresses, round.answer.ttl),
            (vec![fresh], ttl)
        );
    }
    // Two names with one address, one with and one without a rule; then the other way round.
    let both = outside6();
    let change = Change::of(OTHER_ZONE).addresses("www.example.test", 60, &[both]);
    field.dns.change(&change).unwrap();
    look_up(&pod, lookup, "www.example.test", true);
    field.denied(&pod, both);
    field.set(NAME, 0, &[both]);
    connects(&pod, lookup, NAME, true);
    look_up(&pod, lookup, "www.example.test", true);
    field.open(&pod, both);
}

#[test]
fn failing_servers_take_nothing_away_and_open_nothing() {
    let (mut field, pod, lookup) = allowed();
    let told = fresh(&field, 60);
    connects(&pod, lookup, NAME, true);
    let never = outside6();

    field.dns.change(&Change::of(ZONE).nothing(NAME)).unwrap();
    let answer = look_up(&pod, lookup, NAME, true);
    assert_eq!(answer.code, ResponseCode::NXDomain);
    field.open(&pod, told);
    field.denied(&pod, never);

    field.dns.fail(ZONE).unwrap();
    let answer = look_up(&pod, lookup, NAME, true);
    assert_eq!(answer.code, ResponseCode::ServFail);
    field.open(&pod, told);
    field.denied(&pod, never);
    field.dns.heal().unwrap();
    fresh(&field, 1);
    connects(&pod, lookup, NAME, true);

    // Away, while a policy comes and the agent starts: neither waits, nothing opens, and it works from its first answer.
    field.dns.stop().unwrap();
    field.open(&pod, told);
    field.cluster.agent("node1", Action::Kill).unwrap();
    let start = Instant::now();
    field.cluster.agent("node1", Action::Start).unwrap();
    field.open(&pod, told);
    field.denied(&pod, never);
    field.apply(
        "a",
        "names",
        &[
            &ALLOW_DNS,
            &["Deny 198.51.100.9/32", "Allow www.foo.com"],
            &DENY_ALL,
        ],
    );
    let other = field.cluster.pod("b/p", "node1");
    field.apply("b", "names", &[&ALLOW_DNS, &["Allow *.foo.com"], &DENY_ALL]);
    field.closes(&other, never);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    field.dns.start_again().unwrap();
    fresh(&field, 1);
    for pod in [&pod, &other] {
        connects(pod, lookup, NAME, true);
    }
}

#[test]
fn many_addresses_get_out_also_when_the_answer_does_not_fit() {
    let (field, pod, lookup) = allowed();
    let addresses: Vec<IpAddr> = (1..=100).map(|n| [198, 51, 100, n].into()).collect();
    // Cut short over UDP, then whole over TCP; in several packets over UDP.
    let large = Lookup {
        payload: Some(4_096),
        ..lookup
    };
    for (way, addresses, cut) in [
        (lookup, &addresses[..50], true),
        (large, &addresses[50..], false),
        (lookup, &addresses[..], true),
    ] {
        field.set(NAME, 60, addresses);
        let answer = look_up(&pod, way, NAME, false);
        assert_eq!(
            (answer.addresses.len(), answer.truncated),
            (addresses.len(), cut)
        );
        for address in &answer.addresses {
            field.opens(&pod, *address);
        }
    }
}

#[test]
fn answers_that_come_late_twice_or_not_at_first() {
    let (field, pod, _) = allowed();
    let lookup = Lookup::at(ip(RELAY));
    for pause in [Duration::from_millis(300), Duration::from_secs(3)] {
        field.relay.play(play::delayed(pause));
        fresh(&field, 1);
        let round = connects(&pod, lookup, NAME, true);
        assert!(round.lookup >= pause);
        assert!(round.connect < pause, "the connection waited: {round:?}");
    }
    field.relay.play(play::twice());
    fresh(&field, 0);
    connects(&pod, lookup, NAME, true);
    field.relay.play(play::lost());
    fresh(&field, 0);
    let glance = Lookup {
        patience: Duration::from_millis(50),
        ..lookup
    };
    let asked = pod
        .netns
        .run(|| glance.ask(NAME, hickory_proto::rr::RecordType::AAAA));
    assert!(asked.unwrap().is_err());
    field.relay.play(play::faithful());
    connects(&pod, lookup, NAME, true);
}
