//! Failures: nothing is lost, and the next try comes in time.

use super::super::{Failure, NameState, Report};
use super::scene::{SECOND, Scene, fails, held, v4};

const WWW: &str = "www.example";

fn every_failure() -> Vec<Failure> {
    vec![
        Failure::Timeout,
        Failure::Unreachable("network is unreachable".into()),
        Failure::ServFail,
        Failure::NxDomain,
        Failure::Refused,
        Failure::Code(4),
        Failure::NoAddress,
        Failure::Unusable("truncated".into()),
    ]
}

#[test]
fn before_any_answer_the_waits_double_up_to_half_a_minute() {
    for failure in every_failure() {
        let mut scene = Scene::new();
        scene.watch(&[WWW]);
        scene.pass_answering(100 * SECOND, &fails(failure.clone()));
        assert_eq!(
            scene.asked_at(WWW),
            [0, 1, 3, 7, 15, 31, 61, 91],
            "{failure}"
        );
        let NameState::Unresolved { error, since, .. } = scene.resolution(WWW).state else {
            panic!("never answered");
        };
        assert_eq!(since, scene.start);
        assert!(error.is_some_and(|error| error.to_string().contains(&failure.to_string())));
    }
}

#[test]
fn without_servers_the_name_waits_and_says_so() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.answer(WWW, Report::default());
    let NameState::Unresolved { error, .. } = scene.resolution(WWW).state else {
        panic!("never answered");
    };
    assert_eq!(
        error.unwrap_or_default().to_string(),
        "no name server is known"
    );
}

#[test]
fn after_an_answer_every_failure_keeps_the_addresses() {
    for failure in every_failure() {
        let mut scene = Scene::new();
        scene.watch(&[WWW]);
        scene.answer(WWW, v4(&["10.0.0.1", "10.0.0.2"], 60));
        scene.pass(60 * SECOND);
        scene.pass_answering(3600 * SECOND, &fails(failure.clone()));
        let kept = held(&[("10.0.0.1", None), ("10.0.0.2", None)]);
        assert_eq!(scene.held(WWW), kept, "{failure}");
        assert!(matches!(
            scene.resolution(WWW).state,
            NameState::Stale { .. }
        ));
    }
}

#[test]
fn after_an_answer_the_longest_wait_is_its_ttl_within_bounds() {
    for (ttl, longest) in [(1, 30), (60, 60), (1800, 300)] {
        let mut scene = Scene::new();
        scene.watch(&[WWW]);
        scene.answer(WWW, v4(&["10.0.0.1"], ttl));
        scene.pass_answering(4 * 3600 * SECOND, &fails(Failure::ServFail));
        let asked = scene.asked_at(WWW);
        let waits: Vec<u64> = asked.windows(2).skip(1).map(|w| w[1] - w[0]).collect();
        assert_eq!(waits[..4], [1, 2, 4, 8], "TTL {ttl}");
        assert_eq!(waits.iter().max(), Some(&longest), "TTL {ttl}");
        assert!(waits.is_sorted(), "TTL {ttl}");
    }
}

#[test]
fn an_answer_ends_the_back_off() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.pass_answering(5 * SECOND, &fails(Failure::ServFail));
    scene.pass(2 * SECOND);
    scene.answer(WWW, v4(&["10.0.0.1"], 10));
    scene.pass(10 * SECOND);
    scene.answer(WWW, fails(Failure::ServFail));
    scene.pass(SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 1, 3, 7, 17, 18]);
}
