//! All objects together: what takes force when, and the thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;
use weft_core::model::{Change, LocalNode, Vnid, World};

use super::super::{Event, Intake, spawn};
use super::{host, network, object, project};
use crate::store::scratch::Scratch;
use crate::store::{Delta, Manifests, Object, ObjectRef};

fn put(object: Object) -> Delta {
    Delta::Put(Arc::new(object))
}

fn gone(kind: &str, name: &str) -> Delta {
    Delta::Gone(ObjectRef::cluster(kind, name))
}

fn problems(intake: &Intake) -> String {
    let lines: Vec<String> = intake
        .problems()
        .iter()
        .map(|p| format!("{}: {}", p.object, p.message))
        .collect();
    lines.join("\n")
}

#[test]
fn only_real_differences_are_told() {
    let mut intake = Intake::default();
    let all = || {
        vec![
            put(project("a", 7)),
            put(host("n1", "192.0.2.1", "10.128.0.0/23")),
            put(network()),
        ]
    };
    let changes = intake.take(all());
    assert!(matches!(
        changes.as_slice(),
        [
            Change::ClusterNetwork(Some(_)),
            Change::HostSubnet(_, Some(_)),
            Change::Project(_, Some(_))
        ]
    ));
    assert_eq!(intake.take(all()), []);
    let mut annotated = project("a", 7);
    annotated.set_annotation("x", Some("y"));
    assert_eq!(intake.take(vec![put(annotated)]), []);
    assert_eq!(problems(&intake), "");
    let changes = intake.take(vec![gone("NetNamespace", "a"), gone("HostSubnet", "n1")]);
    assert_eq!(
        changes,
        [
            Change::HostSubnet("n1".into(), None),
            Change::Project("a".into(), None)
        ]
    );
    assert_eq!(intake.take(vec![gone("NetNamespace", "a")]), []);
}

#[test]
fn what_a_node_says_of_itself_is_no_change() {
    let mut intake = Intake::default();
    let mut node = host("n1", "192.0.2.1", "10.128.0.0/23");
    intake.take(vec![put(network()), put(node.clone())]);
    let refused = json!({"namespace": "a", "name": "default", "reason": "no room"});
    for status in [json!({"policiesNotInForce": [refused]}), json!({})] {
        node.set_field("status", status);
        assert_eq!(intake.take(vec![put(node.clone())]), []);
        assert_eq!(problems(&intake), "");
    }
}

#[test]
fn what_worked_goes_on() {
    let mut intake = Intake::default();
    intake.take(vec![
        put(network()),
        put(host("n1", "192.0.2.1", "10.128.0.0/23")),
        put(project("a", 7)),
    ]);
    let mut bad_network = network();
    bad_network.set_field("mtu", json!(1));
    let bad = vec![
        put(bad_network),
        put(host("n1", "127.0.0.1", "10.128.0.0/23")),
        put(project("a", 1 << 24)),
    ];
    assert_eq!(intake.take(bad), []);
    let text = problems(&intake);
    for part in [
        "ClusterNetwork/default: mtu: is 1",
        "HostSubnet/n1: hostIP: 127.0.0.1",
        "NetNamespace/a: netid: is 16777216",
        "VNID 7 as before stays in force",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(intake.take(vec![gone("ClusterNetwork", "default")]), []);
    assert!(problems(&intake).contains("was removed; the last good one stays"));
    let mended = vec![
        put(network()),
        put(host("n1", "192.0.2.1", "10.128.0.0/23")),
        put(project("a", 7)),
    ];
    assert_eq!(intake.take(mended), []);
    assert_eq!(problems(&intake), "");
}

#[test]
fn what_never_was_valid_stays_closed() {
    let mut intake = Intake::default();
    let changes = intake.take(vec![
        put(object("NetNamespace", "a", json!({"netname": "a"}))),
        put(host("n1", "::1", "10.128.0.0/23")),
        put(object("ClusterNetwork", "default", json!({}))),
    ]);
    assert_eq!(changes, []);
    assert_eq!(intake.problems().len(), 3);
    assert!(problems(&intake).contains("the project stays closed"));
}

#[test]
fn a_new_network_may_not_cut_nodes_off() {
    let mut intake = Intake::default();
    intake.take(vec![
        put(network()),
        put(host("n1", "192.0.2.1", "10.128.0.0/23")),
    ]);
    let mut moved = network();
    let entries = json!([{"CIDR": "10.0.0.0/14", "hostSubnetLength": 9}]);
    moved.set_field("clusterNetworks", entries);
    assert_eq!(intake.take(vec![put(moved.clone())]), []);
    assert!(problems(&intake).contains("HostSubnet/n1 would be cut off"));
    // With the node's own object the move is complete.
    let changes = intake.take(vec![put(host("n1", "192.0.2.1", "10.0.0.0/23"))]);
    assert!(matches!(
        changes.as_slice(),
        [
            Change::ClusterNetwork(Some(_)),
            Change::HostSubnet(_, Some(_))
        ]
    ));
    assert_eq!(problems(&intake), "");
    // Without any node anything goes.
    intake.take(vec![gone("HostSubnet", "n1")]);
    assert_eq!(intake.take(vec![put(network())]).len(), 1);
}

#[test]
fn a_host_outside_does_not_hold_the_first_network_up() {
    let mut intake = Intake::default();
    let changes = intake.take(vec![
        put(host("n1", "192.0.2.1", "10.9.0.0/23")),
        put(host("n2", "192.0.2.2", "10.128.0.0/23")),
        put(network()),
    ]);
    assert!(
        matches!(changes.as_slice(), [Change::ClusterNetwork(_), Change::HostSubnet(n, Some(_))] if n == "n2")
    );
    assert!(problems(&intake).contains("HostSubnet/n1: subnet: 10.9.0.0/23 is outside"));
}

#[test]
fn contradictions_are_told_and_resolved() {
    let mut intake = Intake::default();
    intake.take(vec![
        put(network()),
        put(host("n1", "192.0.2.1", "10.128.0.0/23")),
    ]);
    let changes = intake.take(vec![put(host("n2", "192.0.2.2", "10.128.1.0/24"))]);
    assert_eq!(changes, []);
    assert!(problems(&intake).contains("HostSubnet/n2: subnet: 10.128.1.0/24 overlaps"));
    let changes = intake.take(vec![gone("HostSubnet", "n1")]);
    assert_eq!(changes.len(), 2, "the refused one takes its place");
    assert_eq!(problems(&intake), "");
}

#[test]
fn misplaced_objects_are_pointed_out() {
    let mut intake = Intake::default();
    let mut namespaced = project("a", 1);
    namespaced.key.namespace = "x".into();
    let mut other = network();
    other.key.name = "other".into();
    let changes = intake.take(vec![
        put(namespaced),
        put(other),
        put(object("NetNamespaces", "a", json!({}))),
        put(Object::cluster(
            "v1",
            "Namespace",
            "a",
            serde_json::Map::new(),
        )),
    ]);
    assert_eq!(changes, []);
    assert_eq!(intake.problems().len(), 3, "{}", problems(&intake));
    intake.take(vec![gone("NetNamespaces", "a")]);
    assert_eq!(intake.problems().len(), 2);
}

/// Takes events into a world until it holds.
fn until(events: &Receiver<Event>, world: &mut World, holds: impl Fn(&World, &[Event]) -> bool) {
    let mut seen = Vec::new();
    while !holds(world, &seen) {
        let event = events.recv_timeout(Duration::from_secs(10)).unwrap();
        if let Event::Changes(changes) = &event {
            assert!(!changes.is_empty());
            changes
                .iter()
                .cloned()
                .for_each(|change| world.take(change));
        }
        seen.push(event);
    }
}

#[test]
fn the_thread_follows_a_directory() {
    let dir = Scratch::new();
    let text = |object: &Object| object.value.to_string();
    dir.write("network.json", text(&network()));
    dir.write("a.json", text(&project("a", 7)));
    let store = Manifests::new(dir.path());
    let (sender, events) = channel();
    let ingest = spawn(&store, sender).unwrap();
    let mut world = World::new(LocalNode {
        name: "n1".into(),
        ip: [192, 0, 2, 1].into(),
        addresses: Vec::new(),
    });
    until(&events, &mut world, |world, seen| {
        let synced = seen.contains(&Event::Synced);
        assert!(
            !synced || world.network.is_some(),
            "synced means all was told"
        );
        synced
    });
    assert_eq!(world.projects["a"].vnid.number(), 7);

    dir.write("a.json", text(&project("a", 1 << 24)));
    until(&events, &mut world, |_, seen| {
        seen.iter()
            .any(|e| matches!(e, Event::Problems(p) if p.len() == 1))
    });
    assert_eq!(world.projects["a"].vnid.number(), 7);

    dir.write("a.json", text(&project("a", 0)));
    until(&events, &mut world, |world, seen| {
        world.projects["a"].vnid == Vnid::GLOBAL && seen.contains(&Event::Problems(Vec::new()))
    });
    drop(ingest);
    assert!(events.recv().is_err(), "the thread has ended");
}
