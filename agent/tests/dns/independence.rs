//! One name's server trouble is no other name's.

use std::time::{Duration, Instant};

use super::rig::{Rig, settings};
use super::server::{Reply, Server, addresses, fresh_ip};

fn names() -> Vec<String> {
    (0..1000)
        .map(|i| format!("{}{i}.test", if i % 2 == 0 { "live" } else { "dead" }))
        .collect()
}

fn watch(rig: &Rig) -> Instant {
    let names = names();
    let begin = Instant::now();
    rig.watch(&names.iter().map(String::as_str).collect::<Vec<_>>());
    begin
}

/// How long until the last of the names with this beginning was first answered.
fn last(rig: &Rig, begin: Instant, beginning: &str) -> Duration {
    let answered = rig.answered().into_iter();
    let of = answered.filter(|(name, _)| name.starts_with(beginning));
    of.map(|(_, at)| at - begin).max().unwrap()
}

#[test]
fn five_hundred_names_that_are_never_answered_delay_five_hundred_others_by_little() {
    let server = Server::start(|asked| {
        if asked.name.starts_with("dead") {
            Reply::Silence
        } else {
            addresses(asked, 600, &["192.0.2.1"])
        }
    });
    let mut settings = settings(&[server.address]);
    settings.timeout = Duration::from_secs(5);
    let rig = Rig::start(settings);
    let begin = watch(&rig);
    rig.wait("all live names", |rig| rig.answered().len() == 500);
    let took = last(&rig, begin, "live");
    println!("500 live names beside 500 dead ones: {took:?}");
    // Those that wait in one line of 64 would take 500 * 5 s / 64 = 39 s.
    assert!(took < Duration::from_secs(6), "took {took:?}");
}

#[test]
fn a_dead_first_server_costs_a_thousand_names_its_timeout_once() {
    let server = Server::start(|asked| addresses(asked, 600, &["192.0.2.1"]));
    let dead = (fresh_ip(), 53_053).into();
    let mut settings = settings(&[dead, server.address]);
    settings.timeout = Duration::from_secs(2);
    let rig = Rig::start(settings);
    let begin = watch(&rig);
    rig.wait("all names", |rig| rig.answered().len() == 1000);
    let took = last(&rig, begin, "");
    println!("1000 names, first server dead: {took:?}");
    // One by one in a line of 64 it were 1000 * 2 s / 64 = 31 s.
    assert!(took < Duration::from_secs(8), "took {took:?}");
}

#[test]
fn callers_do_not_wait_while_every_server_is_dead() {
    let rig = Rig::start(settings(&[(fresh_ip(), 53_053).into()]));
    watch(&rig);
    rig.wait("a failure", |rig| rig.events().len() > 1);
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(rig.resolver.snapshot().len(), 1000);
        rig.resolver.resolve_now(super::rig::name("live0.test"));
    }
    watch(&rig);
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
}
