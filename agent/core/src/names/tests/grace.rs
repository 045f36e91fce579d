//! Addresses that drop out of the answer.

use std::time::Duration;

use super::super::{Failure, Limits};
use super::scene::{SECOND, Scene, fails, held, v4};

const WWW: &str = "www.example";

fn after_drop(limits: Limits, old_ttl: u64, new_ttl: u64) -> Scene {
    let mut scene = Scene::with(limits);
    scene.watch(&[WWW]);
    scene.answer(WWW, v4(&["10.0.0.1", "10.0.0.2"], old_ttl));
    scene.pass(Duration::from_secs(old_ttl.max(1)));
    scene.changes();
    scene.answer(WWW, v4(&["10.0.0.2"], new_ttl));
    assert_eq!(scene.changes(), 1, "the address is on its way out");
    scene
}

#[test]
fn an_address_that_drops_out_stays_for_one_ttl_and_at_least_half_a_minute() {
    for (old, new, grace) in [(5, 5, 30), (120, 5, 120), (5, 120, 120), (1800, 1800, 1800)] {
        let mut scene = after_drop(Limits::default(), old, new);
        let both = held(&[("10.0.0.1", Some(grace)), ("10.0.0.2", None)]);
        assert_eq!(scene.held(WWW), both, "TTL {old} then {new}");
        scene.pass_answering(Duration::from_secs(grace - 1), &v4(&["10.0.0.2"], new));
        assert_eq!(scene.held(WWW).len(), 2, "TTL {old} then {new}");
        scene.changes();
        scene.pass(SECOND);
        assert_eq!(scene.held(WWW), held(&[("10.0.0.2", None)]));
        assert_eq!(scene.changes(), 1, "its end is an event");
    }
}

#[test]
fn the_configured_grace_counts() {
    for grace in [0, 1, 7200] {
        let limits = Limits {
            grace: Some(Duration::from_secs(grace)),
            ..Limits::default()
        };
        let mut scene = after_drop(limits, 60, 60);
        assert_eq!(scene.held(WWW).contains_key("10.0.0.1"), grace > 0);
        scene.pass_answering(Duration::from_secs(grace), &v4(&["10.0.0.2"], 60));
        assert_eq!(
            scene.held(WWW),
            held(&[("10.0.0.2", None)]),
            "grace {grace}"
        );
    }
}

#[test]
fn an_address_that_comes_back_is_held_again() {
    let mut scene = after_drop(Limits::default(), 10, 10);
    scene.pass(10 * SECOND);
    scene.answer(WWW, v4(&["10.0.0.1", "10.0.0.2"], 3600));
    let back = held(&[("10.0.0.1", None), ("10.0.0.2", None)]);
    assert_eq!(scene.held(WWW), back);
    assert_eq!(scene.changes(), 1);
    scene.pass(60 * SECOND);
    assert_eq!(scene.held(WWW), back, "the old end is void");
    assert_eq!(scene.changes(), 0);
}

#[test]
fn a_second_answer_without_the_address_does_not_prolong_it() {
    let mut scene = after_drop(Limits::default(), 10, 10);
    scene.pass(10 * SECOND);
    scene.answer(WWW, v4(&["10.0.0.2"], 10));
    let later = held(&[("10.0.0.1", Some(20)), ("10.0.0.2", None)]);
    assert_eq!(scene.held(WWW), later);
}

#[test]
fn a_grace_ends_on_time_while_lookups_fail() {
    let mut scene = after_drop(Limits::default(), 10, 10);
    scene.pass_answering(40 * SECOND, &fails(Failure::Timeout));
    assert_eq!(scene.held(WWW), held(&[("10.0.0.2", None)]));
}

#[test]
fn endless_new_addresses_have_an_end() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    for round in 0..60_u32 {
        let addresses: Vec<String> = (0..500_u32)
            .map(|i| std::net::Ipv4Addr::from(0x0a00_0000 + round * 500 + i).to_string())
            .collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        scene.answer(WWW, v4(&addresses, 1));
        let most = 500 + 4096;
        assert!(scene.held(WWW).len() <= most, "round {round}");
        scene.pass(SECOND);
    }
    assert_eq!(scene.held(WWW).len(), 500 + 4096);
    let newest = std::net::Ipv4Addr::from(0x0a00_0000 + 59 * 500).to_string();
    assert_eq!(scene.held(WWW)[&newest], None, "the latest answer is whole");
}
