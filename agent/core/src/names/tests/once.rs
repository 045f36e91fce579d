//! Names that a pod asks for.

use super::super::{Failure, News};
use super::scene::{SECOND, Scene, fails, held, name, set, v4};

const WWW: &str = "www.example";

fn once(scene: &mut Scene, text: &str) {
    scene.names.resolve_now(name(text), scene.now);
    scene.step();
}

fn answers(scene: &mut Scene) -> usize {
    let news = std::mem::take(&mut scene.news).into_iter();
    news.filter(|news| matches!(news, News::Once(..))).count()
}

#[test]
fn a_name_that_nobody_watches_is_asked_once_and_forgotten() {
    let mut scene = Scene::new();
    once(&mut scene, WWW);
    scene.answer(WWW, v4(&["10.0.0.1"], 0));
    let told = News::Once(name(WWW), vec!["10.0.0.1".parse().unwrap()], SECOND);
    assert_eq!(scene.news, [told], "with the TTL that counts");
    scene.pass(3600 * SECOND);
    assert_eq!(scene.asked_at(WWW), [0]);
    assert!(scene.names.snapshot().is_empty());
    assert_eq!(scene.names.next_at(), None, "nothing is kept of it");
}

#[test]
fn a_name_is_asked_at_most_once_a_second() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        once(&mut scene, WWW);
        if scene.is_asked(WWW) {
            scene.answer(WWW, v4(&["10.0.0.1"], 60));
        }
        scene.pass(SECOND / 20);
    }
    let asked = scene.asked_at(WWW);
    assert_eq!(
        asked,
        [0, 1, 2, 3, 4, 5],
        "for a hundred questions in five seconds"
    );
}

#[test]
fn a_failure_is_not_told_nor_tried_again() {
    let mut scene = Scene::new();
    once(&mut scene, WWW);
    scene.answer(WWW, fails(Failure::NxDomain));
    scene.pass(600 * SECOND);
    assert_eq!((answers(&mut scene), scene.asked_at(WWW)), (0, vec![0]));
}

#[test]
fn a_watched_name_is_refreshed_at_once_and_answered_too() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.answer(WWW, v4(&["10.0.0.1"], 600));
    scene.pass(10 * SECOND);
    once(&mut scene, WWW);
    scene.answer(WWW, v4(&["10.0.0.2"], 600));
    assert_eq!(answers(&mut scene), 1);
    let new = held(&[("10.0.0.1", Some(600)), ("10.0.0.2", None)]);
    assert_eq!(scene.held(WWW), new, "the watched name learns from it");
    scene.pass(600 * SECOND);
    assert_eq!(scene.asked_at(WWW), [0, 10, 610]);
}

#[test]
fn a_name_may_become_watched_while_it_is_being_asked_and_back() {
    let mut scene = Scene::new();
    once(&mut scene, WWW);
    scene.watch(&[WWW]);
    scene.answer(WWW, v4(&["10.0.0.1"], 60));
    assert_eq!(scene.held(WWW), held(&[("10.0.0.1", None)]));
    assert_eq!(scene.asked_at(WWW), [0], "one lookup for both");

    scene.pass(5 * SECOND);
    once(&mut scene, WWW);
    scene.news.clear();
    scene.watch(&[]);
    assert!(scene.is_asked(WWW), "somebody still waits for the answer");
    scene.answer(WWW, v4(&["10.0.0.2"], 60));
    assert_eq!(answers(&mut scene), 1);
    scene.watch(&[WWW]);
    assert!(
        scene.held(WWW).is_empty(),
        "what was known before is forgotten"
    );
}

#[test]
fn the_number_of_such_names_has_an_end() {
    let mut scene = Scene::new();
    let mut taken = 0;
    for i in 0..10_000 {
        taken += usize::from(
            scene
                .names
                .resolve_now(name(&format!("n{i}.example")), scene.now),
        );
    }
    assert_eq!(taken, 4096);
    scene.pass_answering(10 * SECOND, &v4(&["10.0.0.1"], 60));
    assert!(
        scene.names.resolve_now(name(WWW), scene.now),
        "there is room again"
    );
}

#[test]
fn names_that_are_taken_out_are_forgotten_and_their_lookups_stopped() {
    let mut scene = Scene::new();
    scene.watch(&["a.example", "b.example", "c.example"]);
    scene.answer("a.example", v4(&["10.0.0.1"], 60));
    scene.watch(&["c.example"]);
    assert_eq!(scene.stopped, 1, "the lookup of b.example");
    assert_eq!(scene.names.snapshot().len(), 1);
    scene.answer("c.example", v4(&["10.0.0.1"], 6000));
    scene.pass(600 * SECOND);
    assert_eq!(scene.asked.len(), 3);
    scene.names.watch(set(&[]), scene.now);
    scene.step();
    assert_eq!(scene.names.next_at(), None);
    assert_eq!(scene.names.running(), 0);
}
