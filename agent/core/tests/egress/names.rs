//! Addresses that pods were told.

use weft_core::model::{Change, Protocol};

use crate::scene::*;

#[test]
fn an_address_is_the_names_until_it_expires() {
    for (far, rule) in [(FAR[0], 2), (FAR[1], 3)] {
        let mut rules = vec![allow("a.example.com")];
        rules.extend(deny_all());
        let mut scene = Scene::new(rules);
        assert_eq!(
            scene.out(&syn(6000, far, 443)),
            denied(rule),
            "nobody was told"
        );
        scene.tell(far, &["a.example.com"], 30);
        scene.later(29);
        assert_eq!(scene.out(&syn(6000, far, 443)), Ok(()));
        assert_eq!(
            scene.out(&syn(6000, OTHER, 443)),
            denied(2),
            "another address"
        );
        scene.later(1);
        assert_eq!(
            scene.out(&syn(6000, far, 443)),
            denied(rule),
            "at its last moment it is over"
        );
        scene.tell(far, &["a.example.com"], 30);
        assert_eq!(scene.out(&syn(6000, far, 443)), Ok(()), "told anew");
    }
}

/// What one project's pods were told says nothing to another's.
#[test]
fn a_lesson_is_the_projects_own() {
    let mut scene = Scene::new(vec![allow("a.example.com"), deny("0.0.0.0/0")]);
    let until = scene.live.now.get() + 30 * SECOND;
    let far = FAR[0].parse().unwrap();
    scene
        .live
        .tell("b", far, &[pattern("a.example.com")], until);
    assert_eq!(scene.out(&syn(6000, FAR[0], 443)), denied(2));
}

/// Rules are asked in order, whatever was told in which order and in whatever way the address was learned.
#[test]
fn the_first_rule_of_any_of_its_names_decides() {
    let all = || deny("0.0.0.0/0");
    let exact = "a.example.com";
    let (near, far) = ("*.example.com", "*.com");
    for (why, rules, expected) in [
        (
            "exact, then wildcard",
            vec![allow(exact), deny(near)],
            Ok(()),
        ),
        (
            "wildcard, then exact",
            vec![deny(near), allow(exact)],
            denied(1),
        ),
        (
            "wildcard around it",
            vec![deny(far), allow(near), allow(exact)],
            denied(1),
        ),
        (
            "the widest last",
            vec![allow(near), deny(exact), deny(far)],
            Ok(()),
        ),
        (
            "another's wildcard",
            vec![deny("*.org"), allow(near), all()],
            Ok(()),
        ),
        (
            "an address first",
            vec![deny("198.51.100.8/29"), allow(exact)],
            denied(1),
        ),
        (
            "an address later",
            vec![deny(exact), allow("198.51.100.8/29")],
            denied(1),
        ),
        (
            "an inner address later",
            vec![all(), allow(exact)],
            denied(1),
        ),
        (
            "another port",
            vec![on(Protocol::Tcp, 80, deny(exact)), allow(near), all()],
            Ok(()),
        ),
        (
            "this port",
            vec![on(Protocol::Tcp, 443, deny(near)), allow(exact)],
            denied(1),
        ),
        (
            "this port later",
            vec![allow(exact), on(Protocol::Tcp, 443, deny(near))],
            Ok(()),
        ),
    ] {
        let mut scene = Scene::new(rules);
        for told in [[exact, near, far], [far, near, exact]] {
            scene.tell(FAR[0], &told, 30);
            assert_eq!(scene.out(&syn(6000, FAR[0], 443)), expected, "{why}");
        }
        // The same from the node's own resolver, which asks by exact name.
        scene.live.learned.clear();
        let name = pattern(exact);
        let address = FAR[0].parse().unwrap();
        scene.world.take(Change::Resolved(name, [address].into()));
        scene.live.tables = weft_core::compile::compile(&scene.world);
        let own = scene.world.egress_policies["a"]["default"]
            .names()
            .any(|it| *it == pattern(exact));
        if own {
            assert_eq!(
                scene.out(&syn(6000, FAR[0], 443)),
                expected,
                "{why}: resolved"
            );
        }
    }
}

/// Of two names with one address, one of which is over.
#[test]
fn names_of_one_address_expire_by_themselves() {
    let rules = vec![
        deny("b.example.com"),
        allow("a.example.com"),
        deny("0.0.0.0/0"),
    ];
    let mut scene = Scene::new(rules);
    scene.tell(FAR[0], &["a.example.com", "b.example.com"], 60);
    assert_eq!(scene.out(&syn(1, FAR[0], 443)), denied(1));
    let row = scene.live.learned.values_mut().next().unwrap();
    row.names[1].expires -= 30 * SECOND;
    scene.later(31);
    assert_eq!(scene.out(&syn(1, FAR[0], 443)), Ok(()));
    scene.later(30);
    assert_eq!(scene.out(&syn(1, FAR[0], 443)), denied(3));
}
