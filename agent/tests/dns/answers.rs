//! What servers may answer.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use weft_agent::dns::{Event, Settings};
use weft_core::names::{NameState, Until};

use super::rig::{Rig, name, settings};
use super::server::{Asked, Data, Reply, Server, addresses};

const WWW: &str = "www.test";
const SECOND: Duration = Duration::from_secs(1);

fn rig(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Server, Rig) {
    let server = Server::start(script);
    let rig = Rig::start(settings(&[server.address]));
    (server, rig)
}

#[test]
fn both_families_with_the_smaller_ttl() {
    let (server, rig) = rig(|asked| {
        let ttl = if asked.v6 { 20 } else { 60 };
        addresses(asked, ttl, &["192.0.2.1", "192.0.2.2", "2001:db8::1"])
    });
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    assert_eq!(rig.ttl(WWW), 20 * SECOND);
    let NameState::Resolved { server: who, .. } = rig.resolution(WWW).state else {
        panic!("resolved");
    };
    assert_eq!(who, server.address);
    assert_eq!(rig.answered().len(), 1, "told as an event too");
}

#[test]
fn names_are_whole_and_letters_have_no_case() {
    let (server, rig) = rig(|asked| {
        let alias = (asked.name.clone(), 60, Data::Alias("CDN.test".into()));
        let address = ("cdn.TEST".into(), 60, Data::Ip([192, 0, 2, 1].into()));
        let records = if asked.v6 {
            vec![]
        } else {
            vec![alias, address]
        };
        Reply::Upper(Box::new(Reply::Records(records)))
    });
    rig.watch(&["WWW.test.", "short"]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    rig.wait_for("short", &["192.0.2.1"]);
    assert_eq!(server.asked_in_all(), 4, "no search list, two types each");
}

#[test]
fn an_alias_counts_as_far_as_the_answer_goes() {
    let (server, rig) = rig(|asked| {
        let alias = |from: &str, ttl, to: &str| (from.to_owned(), ttl, Data::Alias(to.into()));
        Reply::Records(match (asked.name.as_str(), asked.v6) {
            ("www.test", false) => vec![
                ("b.test".into(), 300, Data::Ip([192, 0, 2, 1].into())),
                alias("a.test", 7, "b.test"),
                alias("www.test", 100, "a.test"),
                ("other.test".into(), 1, Data::Ip([192, 0, 2, 66].into())),
            ],
            ("www.test", true) => vec![alias("www.test", 100, "a.test")],
            _ => vec![alias("dangling.test", 100, "a.test")],
        })
    });
    rig.watch(&[WWW, "dangling.test"]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    assert_eq!(rig.ttl(WWW), 7 * SECOND, "the alias on the way counts");
    assert!(
        rig.wait_for_error("dangling.test")
            .contains("has no address")
    );
    assert_eq!(
        server.asked("a.test", false),
        0,
        "nothing beyond the answer"
    );
}

#[test]
fn a_ttl_of_zero_counts_as_the_floor() {
    let (server, rig) = rig(|asked| addresses(asked, 0, &["192.0.2.1"]));
    let start = Instant::now();
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    assert_eq!(rig.ttl(WWW), SECOND);
    rig.wait("three lookups", |_| server.asked(WWW, false) >= 6);
    assert!(start.elapsed() >= 2 * SECOND, "no more than one a second");
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let (server, rig) = rig(|asked| match (asked.tcp, asked.v6) {
        (false, _) => Reply::Truncated,
        (true, true) => Reply::Records(vec![]),
        (true, false) => Reply::Records(
            (0..100)
                .map(|i| (asked.name.clone(), 60, Data::Ip([198, 51, 100, i].into())))
                .collect(),
        ),
    });
    let names: Vec<String> = (0..300).map(|i| format!("n{i}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    rig.watch(&names);
    rig.wait("all have 100 addresses", |rig| {
        let snapshot = rig.resolver.snapshot();
        snapshot.values().all(|r| r.addresses.len() == 100)
    });
    assert_eq!(server.asked("n0.test", true), 2, "the same server over TCP");
}

#[test]
fn an_answer_that_stays_truncated_is_a_failure() {
    let (_server, rig) = rig(|asked| match asked.before {
        0 if !asked.tcp => addresses(asked, 1, &["192.0.2.1"]),
        _ => Reply::Truncated,
    });
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    assert!(rig.wait_for_error(WWW).contains("unusable"));
    rig.wait_for(WWW, &["192.0.2.1"]);
}

#[test]
fn every_failure_is_told_and_keeps_what_was_known() {
    let codes = [
        ("servfail.test", ResponseCode::ServFail, "SERVFAIL"),
        ("nxdomain.test", ResponseCode::NXDomain, "NXDOMAIN"),
        ("refused.test", ResponseCode::Refused, "REFUSED"),
        ("yxdomain.test", ResponseCode::YXDomain, "code 6"),
    ];
    let (_server, rig) = rig(move |asked| {
        let code = codes.iter().find(|(name, ..)| *name == asked.name);
        match code {
            _ if asked.before == 0 => addresses(asked, 1, &["192.0.2.1", "2001:db8::1"]),
            Some((_, code, _)) => Reply::Code(*code),
            None if asked.name == "empty.test" => Reply::Records(vec![]),
            None => Reply::Silence,
        }
    });
    let mut cases: Vec<(&str, &str)> = codes.iter().map(|(name, _, why)| (*name, *why)).collect();
    cases.extend([
        ("silent.test", "no answer in time"),
        ("empty.test", "has no address"),
    ]);
    let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    rig.watch(&names);
    for (name, why) in cases {
        let error = rig.wait_for_error(name);
        assert!(error.contains(why), "{name}: {error}");
        rig.wait_for(name, &["192.0.2.1", "2001:db8::1"]);
        let resolution = rig.resolution(name);
        assert!(
            matches!(resolution.state, NameState::Stale { .. }),
            "{name}"
        );
        assert!(
            resolution
                .addresses
                .values()
                .all(|until| *until == Until::Held)
        );
    }
}

#[test]
fn a_family_that_fails_or_never_answers_keeps_its_addresses() {
    let (_server, rig) = rig(
        |asked| match (asked.v6, asked.before, asked.name.as_str()) {
            (true, 1.., "silent.test") => Reply::Silence,
            (true, 1.., _) => Reply::Code(ResponseCode::ServFail),
            (false, 1.., _) => addresses(asked, 60, &["192.0.2.2"]),
            _ => addresses(asked, 1, &["192.0.2.1", "2001:db8::1"]),
        },
    );
    rig.watch(&["servfail.test", "silent.test"]);
    for name in ["servfail.test", "silent.test"] {
        rig.wait_for(name, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let addresses = rig.resolution(name).addresses;
        let of = |text: &str| addresses[&text.parse().unwrap()];
        assert!(matches!(of("192.0.2.1"), Until::Grace(_)), "{name}");
        assert_eq!(of("192.0.2.2"), Until::Held, "{name}");
        assert_eq!(of("2001:db8::1"), Until::Held, "{name}");
        rig.wait_for_error(name);
    }
}

#[test]
fn a_server_that_knows_no_edns_is_asked_without() {
    let (_server, rig) = rig(|asked| {
        if asked.edns {
            Reply::Code(ResponseCode::FormErr)
        } else {
            addresses(asked, 60, &["192.0.2.1"])
        }
    });
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
}

#[test]
fn a_lost_packet_is_sent_again_within_the_lookup() {
    let (_server, rig) = rig(|asked| match asked.before {
        0 => Reply::Silence,
        _ => addresses(asked, 60, &["192.0.2.1"]),
    });
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    let first = rig.events().into_iter().find_map(|(_, event)| match event {
        Event::Changed(_, resolution) => Some(resolution),
        _ => None,
    });
    assert!(
        !first.unwrap().addresses.is_empty(),
        "without a failure before it"
    );
}

#[test]
fn an_address_that_drops_out_ends_after_its_grace() {
    let server = Server::start(|asked| match asked.before {
        0 => addresses(asked, 1, &["192.0.2.1", "192.0.2.2"]),
        _ => addresses(asked, 600, &["192.0.2.2", "192.0.2.3"]),
    });
    let rig = Rig::start(Settings {
        grace: Some(2 * SECOND),
        ..settings(&[server.address])
    });
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    let begin = Instant::now();
    rig.wait_for(WWW, &["192.0.2.2", "192.0.2.3"]);
    assert!(begin.elapsed() > SECOND, "after {:?}", begin.elapsed());
    let last = rig.events().pop().unwrap().1;
    let Event::Changed(_, resolution) = last else {
        panic!("{last:?}");
    };
    assert_eq!(
        resolution,
        rig.resolution(WWW),
        "the end of a grace is told"
    );
}

#[test]
fn a_pods_question_is_answered_once() {
    let (server, rig) = rig(|asked| addresses(asked, 0, &["192.0.2.1", "2001:db8::1"]));
    for _ in 0..50 {
        rig.resolver.resolve_now(name("x.wild.test"));
    }
    let once = |rig: &Rig| {
        rig.events().into_iter().find_map(|(_, event)| match event {
            Event::Once(name, addresses, ttl) => Some((name, addresses, ttl)),
            _ => None,
        })
    };
    rig.wait("an answer", |rig| once(rig).is_some());
    let (told, addresses, ttl) = once(&rig).unwrap();
    assert_eq!((told, ttl), (name("x.wild.test"), SECOND));
    assert_eq!(addresses.len(), 2);
    assert!(
        server.asked("x.wild.test", false) <= 4,
        "not for each question"
    );
    assert!(rig.resolver.snapshot().is_empty());
}

#[test]
fn a_family_that_is_slow_does_not_keep_the_other_one_back_for_long() {
    let server = Server::start(|asked| {
        let reply = addresses(asked, 60, &["192.0.2.1", "2001:db8::1"]);
        match (asked.v6, asked.before) {
            (true, 0) => Reply::After(8 * SECOND, Box::new(reply)),
            _ => reply,
        }
    });
    let mut settings = settings(&[server.address]);
    settings.timeout = 10 * SECOND;
    let rig = Rig::start(settings);
    let begin = Instant::now();
    rig.watch(&[WWW, "other.test"]);
    rig.wait("an address", |rig| !rig.addresses(WWW).is_empty());
    assert!(begin.elapsed() < 5 * SECOND, "{:?}", begin.elapsed());
    rig.wait_for(WWW, &["192.0.2.1", "2001:db8::1"]);
}
