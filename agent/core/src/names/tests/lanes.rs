//! Independence: names that take long hold up no others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::{Failure, Lookup};
use super::scene::{SECOND, Scene, fails, name, v4};

/// How long a name whose server never answers takes.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Runs a world in which the names that begin with `dead` are never answered and all others within 5 ms. Tells when
/// each was first answered.
fn run(scene: &mut Scene, time: Duration) -> BTreeMap<String, Duration> {
    let end = scene.now + time;
    let mut answered = BTreeMap::new();
    let mut started: Vec<(Instant, Lookup)> = Vec::new();
    while scene.now < end {
        scene.step();
        for lookup in scene.running.drain(..) {
            started.push((scene.now, lookup));
        }
        for (at, lookup) in std::mem::take(&mut started) {
            let is_dead = lookup.name.as_str().starts_with("dead");
            if !is_dead && scene.now >= at + Duration::from_millis(5) {
                let since = scene.now - scene.start;
                answered.entry(lookup.name.to_string()).or_insert(since);
                let report = v4(&["10.0.0.1"], 1800);
                scene.names.finished(lookup.id, report, scene.now);
            } else if is_dead && scene.now >= at + TIMEOUT {
                let report = fails(Failure::Timeout);
                scene.names.finished(lookup.id, report, scene.now);
            } else {
                started.push((at, lookup));
            }
        }
        assert!(scene.names.running() <= 96, "bounded");
        scene.now += Duration::from_millis(5);
    }
    answered
}

#[test]
fn five_hundred_dead_names_delay_five_hundred_live_ones_by_little() {
    let names: Vec<String> = (0..500)
        .flat_map(|i| [format!("live{i}.example"), format!("dead{i}.example")])
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new();
    scene.watch(&names);
    let answered = run(&mut scene, 10 * SECOND);
    assert_eq!(answered.len(), 500);
    let last = answered.values().max().copied().unwrap_or_default();
    // In one line of 64 it were 500 * 3 s / 64 = 23 s.
    assert!(
        last < 3 * SECOND,
        "the last live name was answered after {last:?}"
    );
}

#[test]
fn names_that_are_known_to_be_slow_delay_a_new_one_by_nothing() {
    let names: Vec<String> = (0..1000).map(|i| format!("dead{i}.example")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new();
    scene.watch(&names);
    run(&mut scene, 120 * SECOND);
    names.push("live.example");
    scene.watch(&names);
    let before = scene.now - scene.start;
    let answered = run(&mut scene, SECOND);
    let took = answered["live.example"].saturating_sub(before);
    assert!(took <= Duration::from_millis(15), "took {took:?}");
}

#[test]
fn a_slow_name_that_is_answered_quickly_returns_to_the_fast_lane() {
    let mut scene = Scene::new();
    let names: Vec<String> = (0..96).map(|i| format!("dead{i}.example")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("a.example");
    scene.watch(&["a.example"]);
    scene.pass(SECOND);
    scene.answer("a.example", v4(&["10.0.0.1"], 2));
    scene.pass(2 * SECOND);
    scene.answer("a.example", v4(&["10.0.0.1"], 2));
    scene.watch(&names);
    scene.pass(2 * SECOND);
    assert_eq!(scene.names.running(), 96, "both lanes are full");
    assert!(
        scene.is_asked("a.example"),
        "the fast lane made a place for it"
    );
}

#[test]
fn a_pods_question_takes_turns_with_a_long_line_of_watched_names() {
    let names: Vec<String> = (0..1000).map(|i| format!("n{i}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new();
    scene.watch(&names);
    scene.names.resolve_now(name("pod.example"), scene.now);
    scene.names.resolve_now(name("n999.example"), scene.now);
    for _ in 0..4 {
        let lookup = scene.running.remove(0);
        scene
            .names
            .finished(lookup.id, v4(&["10.0.0.1"], 60), scene.now);
        scene.step();
    }
    assert!(scene.is_asked("pod.example"));
    assert!(
        scene.is_asked("n999.example"),
        "a watched one that a pod wants, too"
    );
}
