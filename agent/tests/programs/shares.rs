//! Connections that the data path notes: an endpoint that opens more than its share loses its own, and none of others.

use std::ops::Range;
use std::thread;

use aya::maps::{HashMap, Map, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use weft_agent::bpf::Row;
use weft_agent::observe;
use weft_core::diff::Write;
use weft_core::model::{Action, Change, Destination, EgressPolicy, EgressRule, Project, Vnid};
use weft_ebpf::rows::NodeRow;
use weft_ebpf::rows::flow::{FlowKey, FlowPlace, FlowRow, FlowUseRow, share};
use weft_ebpf::tables::map;

use crate::frames::{Frame, frame};
use crate::rig::{PODS, Rig, context, interface, with_rig};

/// `TCX_NEXT`
pub const NEXT: i32 = -1;
/// `TCX_DROP`
pub const DROP: i32 = 2;
/// `TC_ACT_REDIRECT`
pub const REDIRECT: i32 = 7;
/// Pods of the projects `a` and `b`, which are isolated here, and of `g`, which is global.
pub const A: &str = "10.128.2.5";
pub const B: &str = "10.128.2.6";
pub const G: &str = "10.128.2.8";
pub const OUTSIDE: &str = "198.51.100.9";
/// More than any table for the whole node had room for.
const FLOOD: u32 = 80_000;

pub fn udp(from: (&str, u16), to: (&str, u16)) -> Frame {
    Frame {
        src_port: from.1,
        ..frame(from.0, to.0).udp(to.1)
    }
}

pub fn sends(rig: &Rig, project: &str, frame: &Frame) -> i32 {
    rig.run("from_pod", interface(project), &frame.bytes()).0
}

pub fn receives(rig: &Rig, project: &str, frame: &Frame) -> i32 {
    rig.run("to_pod", interface(project), &frame.bytes()).0
}

/// A policy for the project; projects that are joined may have none.
pub fn set(rig: &mut Rig, project: &str, rules: Vec<EgressRule>) {
    let alone = Project {
        name: "c".into(),
        vnid: Vnid::new(12).unwrap(),
    };
    let policy = EgressPolicy::new(project, rules);
    rig.take([
        Change::Project("c".into(), Some(alone)),
        Change::EgressPolicy(project.into(), "p".into(), Some(policy)),
    ]);
}

fn allow_all() -> EgressRule {
    EgressRule {
        action: Action::Allow,
        ..deny_all()
    }
}

pub fn deny_all() -> EgressRule {
    EgressRule {
        action: Action::Deny,
        to: Destination::Cidr("0.0.0.0/0".parse().unwrap()),
        ports: vec![],
    }
}

/// The pod of `a` opens connections to the outside, each of one packet.
fn flood(program: &SchedClassifier, flows: Range<u32>) {
    let context = context(interface("a"));
    for flow in flows {
        let port = u16::try_from(flow % 60_000).unwrap() + 1_000;
        let to = format!("198.51.{}.9", flow / 60_000);
        let options = TestRunOptions {
            data_in: Some(&udp((A, port), (&to, 53)).bytes()),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).unwrap();
        assert_eq!(result.return_value.cast_signed(), NEXT);
    }
}

/// A map of the data path, by its pin.
pub fn table<K, V>(rig: &Rig, name: &str) -> HashMap<MapData, Row<K>, Row<V>>
where
    Row<K>: aya::Pod,
    Row<V>: aya::Pod,
{
    let data = MapData::from_pin(rig.pins.map(name)).unwrap();
    HashMap::try_from(Map::HashMap(data)).unwrap()
}

fn flows(rig: &Rig) -> HashMap<MapData, Row<FlowKey>, Row<FlowRow>> {
    table(rig, map::FLOWS)
}

fn places(rig: &Rig) -> HashMap<MapData, Row<FlowPlace>, Row<FlowKey>> {
    table(rig, map::FLOW_PLACES)
}

fn used(rig: &Rig, project: &str) -> FlowUseRow {
    let table: HashMap<_, Row<u32>, Row<FlowUseRow>> = table(rig, map::FLOW_USE);
    table.get(&Row(interface(project)), 0).unwrap().0
}

/// How many connections of an interface there are; each must have the place that it says.
pub fn noted(rig: &Rig, ifindex: u32) -> usize {
    let places = places(rig);
    let mut count = 0;
    for (Row(key), Row(row)) in flows(rig).iter().map(Result::unwrap) {
        if row.ifindex == ifindex {
            let place = row.place;
            let holder = places.get(&Row(FlowPlace { ifindex, place }), 0).unwrap();
            assert_eq!(holder.0, key, "the connection in place {place}");
            count += 1;
        }
    }
    count
}

fn full_share() -> usize {
    share(u32::try_from(PODS.len()).unwrap()) as usize
}

#[test]
fn who_opens_very_many_takes_nothing_from_others() {
    with_rig(|rig| {
        set(rig, "b", vec![deny_all()]);
        set(rig, "a", vec![allow_all()]);
        let asked = udp((OUTSIDE, 5000), (B, 53));
        let answer = udp((B, 53), (OUTSIDE, 5000));
        assert_eq!(receives(rig, "b", &asked), NEXT);
        // The host has translated the destination of what `g` asks `a`, or it would not come this way.
        let service = udp((G, 6000), (A, 80));
        let served = udp((A, 80), (G, 6000));
        assert_eq!(sends(rig, "a", &served), REDIRECT, "not translated yet");
        assert_eq!(receives(rig, "a", &service), NEXT);
        assert_eq!(sends(rig, "a", &served), NEXT, "the host translates back");

        flood(rig.program("from_pod"), 0..FLOOD);
        assert_eq!(sends(rig, "b", &answer), NEXT, "an answer to the outside");
        assert_eq!(sends(rig, "a", &served), NEXT, "an answer of a service");
        assert_eq!(noted(rig, interface("a")), full_share());
        let used = used(rig, "a");
        assert!(used.evicted > 0 && used.refused == 0, "{used:?}");
    });
}

#[test]
fn a_connection_in_use_keeps_its_place_while_others_are_idle() {
    with_rig(|rig| {
        set(rig, "b", vec![deny_all()]);
        let asked = |port| udp((OUTSIDE, port), (B, 53));
        let answer = |port| udp((B, 53), (OUTSIDE, port));
        let node = observe::maps::tables(&rig.maps).unwrap().node;
        let flow_share = 8;
        rig.write(&[Write::Node(NodeRow { flow_share, ..node })]);
        for port in 1..=8 {
            assert_eq!(receives(rig, "b", &asked(port)), NEXT);
        }
        // All but the first were last seen long ago.
        let mut flows = flows(rig);
        let rows: Vec<_> = flows.iter().map(Result::unwrap).collect();
        for (key, Row(row)) in rows {
            if key.0.remote_port != 1 {
                flows
                    .insert(key, Row(FlowRow { seen: 1, ..row }), 0)
                    .unwrap();
            }
        }
        assert_eq!(receives(rig, "b", &asked(100)), NEXT);
        assert_eq!(sends(rig, "b", &answer(1)), NEXT, "it is in use");
        assert_eq!(sends(rig, "b", &answer(100)), NEXT, "the new one");
        assert_eq!(sends(rig, "b", &answer(2)), DROP, "an idle one gave way");
        let used = used(rig, "b");
        assert_eq!((used.evicted, used.next), (0, 10));
    });
}

/// The client of a service may be silent for long while it is answered: the answers keep its connection.
#[test]
fn answers_keep_a_translated_connection() {
    with_rig(|rig| {
        assert_eq!(receives(rig, "a", &udp((G, 6000), (A, 80))), NEXT);
        let mut flows = flows(rig);
        let (key, Row(row)) = flows.iter().next().unwrap().unwrap();
        let old = FlowRow { seen: 1, ..row };
        flows.insert(key, Row(old), 0).unwrap();
        assert_eq!(sends(rig, "a", &udp((A, 80), (G, 6000))), NEXT);
        let Row(kept) = flows.get(&key, 0).unwrap();
        assert!(kept.seen >= row.seen, "{kept:?}");
        assert_eq!(kept.place, row.place);
    });
}

#[test]
fn processors_that_note_at_once_share_the_places() {
    with_rig(|rig| {
        set(rig, "a", vec![allow_all()]);
        let program = rig.program("from_pod");
        thread::scope(|scope| {
            for part in 0..2 {
                scope.spawn(move || flood(program, part * 20_000..(part + 1) * 20_000));
            }
        });
        assert_eq!(noted(rig, interface("a")), full_share());
        assert_eq!(places(rig).iter().count(), full_share());
    });
}

#[test]
fn an_endpoint_that_goes_leaves_no_connection() {
    with_rig(|rig| {
        set(rig, "a", vec![allow_all()]);
        set(rig, "b", vec![allow_all()]);
        flood(rig.program("from_pod"), 0..100);
        assert_eq!(sends(rig, "b", &udp((B, 1), (OUTSIDE, 53))), NEXT);
        let (a, b) = (interface("a"), interface("b"));
        assert_eq!((noted(rig, a), noted(rig, b)), (100, 1));
        rig.maps.forget(a).unwrap();
        assert_eq!((noted(rig, a), noted(rig, b)), (0, 1));
        assert_eq!(places(rig).iter().count(), 1);
        // Without a share nothing is noted, which somebody would have to remove.
        flood(rig.program("from_pod"), 0..1);
        assert_eq!(noted(rig, a), 0);
    });
}
