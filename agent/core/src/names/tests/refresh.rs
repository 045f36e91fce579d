//! When a name is asked again after an answer, and what each family brings.

use std::time::Duration;

use super::super::{Failure, Family, Limits, NameState, Resolution};
use super::scene::{SECOND, Scene, both, fails, family, held, server, v4};

const WWW: &str = "www.example";

#[test]
fn the_ttl_has_a_floor_and_a_ceiling() {
    for (said, asked_again) in [(0, 1), (1, 1), (7, 7), (1800, 1800), (86_400, 1800)] {
        let mut scene = Scene::new();
        scene.watch(&[WWW]);
        scene.answer(WWW, v4(&["10.0.0.1"], said));
        scene.pass(Duration::from_secs(2000));
        assert_eq!(scene.asked_at(WWW), [0, asked_again], "TTL {said}");
    }
    let limits = Limits {
        min_ttl: 20 * SECOND,
        ..Limits::default()
    };
    let mut scene = Scene::with(limits);
    scene.watch(&[WWW]);
    scene.answer(WWW, v4(&["10.0.0.1"], 3));
    scene.pass(60 * SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 20]);
}

#[test]
fn a_refresh_is_never_early_and_at_most_a_second_late() {
    for (ttl, latest) in [(1, 1050), (10, 10_500), (1800, 1_801_000)] {
        let mut scene = Scene::picking(Limits::default(), |span| span);
        scene.watch(&[WWW]);
        scene.answer(WWW, v4(&["10.0.0.1"], ttl));
        scene.pass(Duration::from_secs(2000));
        let (_, at) = &scene.asked[1];
        assert_eq!(at.as_millis(), latest, "TTL {ttl}");
    }
}

#[test]
fn the_smaller_ttl_of_two_families_counts() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.answer(
        WWW,
        both(family(&["10.0.0.1"], 60), family(&["2001:db8::1"], 20)),
    );
    scene.pass(30 * SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 20]);
    assert_eq!(
        scene.held(WWW),
        held(&[("10.0.0.1", None), ("2001:db8::1", None)])
    );
}

#[test]
fn a_family_that_fails_keeps_its_addresses_and_is_asked_again_early() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.answer(
        WWW,
        both(family(&["10.0.0.1"], 60), family(&["2001:db8::1"], 60)),
    );
    scene.pass(60 * SECOND);
    scene.answer(
        WWW,
        both(family(&["10.0.0.2"], 60), Family::Failed(Failure::ServFail)),
    );
    assert_eq!(
        scene.held(WWW),
        held(&[
            ("10.0.0.1", Some(60)),
            ("10.0.0.2", None),
            ("2001:db8::1", None)
        ]),
    );
    let Resolution {
        state: NameState::Resolved { missing, .. },
        ..
    } = scene.resolution(WWW)
    else {
        panic!("one family is enough");
    };
    assert_eq!(missing, Some(Failure::ServFail));
    scene.pass(SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 60, 61]);
    scene.answer(
        WWW,
        both(family(&["10.0.0.2"], 60), Family::Failed(Failure::Timeout)),
    );
    scene.pass(2 * SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 60, 61, 63], "with back-off");
}

#[test]
fn a_family_that_never_answers_costs_no_more_than_its_ttl_asks_for() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    let report = both(family(&["10.0.0.1"], 20), Family::Failed(Failure::Timeout));
    scene.pass_answering(100 * SECOND, &report);
    assert_eq!(scene.asked_at(WWW), [0, 1, 3, 7, 15, 31, 51, 71, 91]);
}

#[test]
fn no_data_for_one_family_is_an_answer() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.answer(
        WWW,
        both(family(&["10.0.0.1"], 60), family(&["2001:db8::1"], 60)),
    );
    scene.pass(60 * SECOND);
    scene.answer(WWW, v4(&["10.0.0.1"], 60));
    assert_eq!(
        scene.held(WWW),
        held(&[("10.0.0.1", None), ("2001:db8::1", Some(60))])
    );
    scene.pass(59 * SECOND);
    assert_eq!(
        scene.asked_at(WWW),
        [0, 60],
        "no failure, so no early retry"
    );
}

#[test]
fn an_answer_without_any_address_is_a_failure() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.answer(WWW, v4(&["10.0.0.1"], 60));
    scene.pass(60 * SECOND);
    scene.answer(WWW, both(Family::Nothing, Family::Nothing));
    assert_eq!(scene.held(WWW), held(&[("10.0.0.1", None)]));
    scene.pass(SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 60, 61]);
}

#[test]
fn an_event_comes_when_something_changed_and_only_then() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    assert_eq!(scene.changes(), 0, "nothing is known yet");
    scene.answer(WWW, v4(&["10.0.0.1"], 10));
    assert_eq!(scene.changes(), 1, "the first answer");
    scene.pass(10 * SECOND);
    scene.answer(WWW, v4(&["10.0.0.1"], 20));
    assert_eq!(scene.changes(), 0, "the same addresses, with another TTL");
    scene.pass(20 * SECOND);
    scene.answer(WWW, fails(Failure::ServFail));
    assert_eq!(scene.changes(), 1, "it became stale");
    scene.pass(SECOND);
    scene.answer(WWW, fails(Failure::Timeout));
    assert_eq!(scene.changes(), 0, "it still is");
    scene.pass(2 * SECOND);
    scene.answer(WWW, v4(&["10.0.0.1"], 20));
    assert_eq!(scene.changes(), 1, "it is not any more");
}

#[test]
fn the_state_tells_who_answered_when_and_what_comes_next() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    let (start, ttl) = (scene.start, 60 * SECOND);
    assert_eq!(
        scene.resolution(WWW).state,
        NameState::Unresolved {
            since: start,
            error: None,
            next_try: start
        }
    );
    scene.answer(WWW, v4(&["10.0.0.1"], 60));
    let server = server(1);
    assert_eq!(
        scene.resolution(WWW).state,
        NameState::Resolved {
            ttl,
            answered: start,
            next_refresh: start + ttl,
            server,
            missing: None
        }
    );
    scene.pass(ttl);
    let report = fails(Failure::NxDomain);
    let error = report.failures.clone();
    scene.answer(WWW, report);
    let since = start + ttl;
    assert_eq!(
        scene.resolution(WWW).state,
        NameState::Stale {
            since,
            error: error.clone(),
            next_try: since + SECOND,
            ttl,
            answered: start,
            server
        }
    );
    assert_eq!(
        error.to_string(),
        "192.0.2.1:53: the name does not exist (NXDOMAIN)"
    );
}
