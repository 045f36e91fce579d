//! A project learns a bounded number of addresses.

use std::net::IpAddr;

use weft_agent::bpf::Row;
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::{RingKey, why};
use weft_ebpf::rows::egress::{LearnedKey, LearnedRow};
use weft_ebpf::tables::map;

use super::messages::{bare_answer, ip, record};
use super::scene::{ID, SERVICE, Scene, WWW, key, now, with_scene};

fn address(n: u8) -> IpAddr {
    [198, 51, 100, n].into()
}

fn known(scene: &Scene<'_>) -> Vec<u8> {
    let mut known: Vec<u8> = scene.rows().keys().map(|key| key.addr.0[15]).collect();
    known.sort_unstable();
    known
}

fn change(scene: &Scene<'_>, n: u8, change: impl Fn(&mut LearnedRow)) {
    let mut rows = scene.map::<LearnedKey, LearnedRow>(map::LEARNED);
    let key = Row(key(address(n)));
    let Row(mut row) = rows.get(&key, 0).unwrap();
    change(&mut row);
    rows.insert(key, Row(row), 0).unwrap();
}

#[test]
fn the_oldest_gives_way() {
    with_scene(|scene| {
        scene.set_node(3, 0);
        for n in 1..=3 {
            scene.exchange(WWW.0, &[address(n)]);
        }
        scene.exchange(WWW.0, &[address(2)]);
        assert_eq!(known(scene), vec![1, 2, 3], "again is not new");
        scene.exchange(WWW.0, &[address(4)]);
        assert_eq!(known(scene), vec![2, 3, 4]);
        assert_eq!(scene.counters().evicted, 1);
        for n in 5..=50 {
            scene.exchange(WWW.0, &[address(n)]);
        }
        assert_eq!(known(scene), vec![48, 49, 50]);
        let places = scene.map::<RingKey, Addr>(map::RING);
        assert_eq!(places.keys().count(), 3, "places are used again");
    });
}

#[test]
fn who_is_in_use_stays() {
    with_scene(|scene| {
        scene.set_node(3, 0);
        for n in 1..=3 {
            scene.exchange(WWW.0, &[address(n)]);
        }
        change(scene, 1, |row| row.used = now());
        change(scene, 2, |row| row.used = now() - 61_000_000_000);
        scene.exchange(WWW.0, &[address(4)]);
        assert_eq!(known(scene), vec![1, 3, 4], "the next one gives way");
    });
}

#[test]
fn all_in_use() {
    with_scene(|scene| {
        scene.set_node(3, 0);
        for n in 1..=3 {
            scene.exchange(WWW.0, &[address(n)]);
            change(scene, n, |row| row.used = now());
        }
        scene.exchange(WWW.0, &[address(4)]);
        assert_eq!(known(scene), vec![1, 2, 3]);
        assert_eq!(scene.counters().refused, 1);
        assert_eq!(scene.asked(), vec![(why::FULL, WWW.0.to_owned())]);
    });
}

/// What is over was nobody's any more.
#[test]
fn who_is_over_is_not_missed() {
    with_scene(|scene| {
        scene.set_node(1, 0);
        scene.exchange(WWW.0, &[address(1)]);
        change(scene, 1, |row| row.names[0].expires = now() - 1);
        scene.exchange(WWW.0, &[address(2)]);
        assert_eq!(known(scene), vec![2]);
        assert_eq!(scene.counters().evicted, 0);
    });
}

/// More addresses than places in one answer: the last ones stay, and the bound holds.
#[test]
fn a_flood_in_one_answer() {
    with_scene(|scene| {
        scene.set_node(10, 0);
        scene.ask(SERVICE, ID, WWW.0);
        let mut message = bare_answer(ID, WWW.0);
        for n in 1..=100 {
            message.add_answer(record(WWW.0, 60, address(n)));
        }
        scene.reply(SERVICE, &message);
        assert_eq!(known(scene), (91..=100).collect::<Vec<u8>>());
        assert_eq!(scene.counters().evicted, 90);
    });
}

#[test]
fn no_room_at_all() {
    with_scene(|scene| {
        scene.set_node(0, 0);
        scene.exchange(WWW.0, &[address(1)]);
        assert!(scene.rows().is_empty());
        assert_eq!(scene.counters().refused, 1);
    });
}

/// Names of one address: four places, and the one that is over first gives way.
#[test]
fn more_names_than_places() {
    with_scene(|scene| {
        scene.exchange(WWW.0, &[address(1)]);
        change(scene, 1, |row| {
            for (n, place) in row.names.iter_mut().enumerate() {
                place.name = 900 + n as u64;
                place.expires = now() + 1_000_000_000 * (1000 - 100 * n as u64);
            }
        });
        scene.exchange(WWW.0, &[address(1)]);
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1, 900, 901, 902]);
        change(scene, 1, |row| row.names[1].expires = 0);
        scene.exchange("cdn.example.net", &[ip("198.51.100.1")]);
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1, 104, 900, 902]);
    });
}
