//! A start over the pins of another version: what its programs noted goes on.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use weft_agent::apply::carried::{Local, Seen};
use weft_agent::apply::object::load;
use weft_agent::apply::pins::Pins;
use weft_agent::bpf::Row;
use weft_agent::bpf::maps::Maps;
use weft_agent::observe::live::monotonic;
use weft_core::compile::project_key;
use weft_ebpf::ABI;
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::NodeRow;
use weft_ebpf::rows::dns::{LearningRow, RingKey};
use weft_ebpf::rows::egress::{LearnedKey, LearnedName, LearnedRow};
use weft_ebpf::rows::flow::{FlowKey, FlowRow, FlowUseRow};
use weft_ebpf::tables::map;

use crate::rig::{Rig, interface, with_rig};
use crate::shares::{
    A, B, DROP, G, NEXT, OUTSIDE, REDIRECT, deny_all, noted, receives, sends, set, table, udp,
};

/// What is pinned becomes another version's; the rig is this version, started over it, with the rows of its world.
fn start_anew(rig: &mut Rig) -> Pins {
    let root = rig.pins.folder().parent().unwrap().to_owned();
    let at = |abi: u32| root.join(format!("v{abi}"));
    fs::rename(at(ABI), at(ABI - 1)).unwrap();
    rig.pins = Pins::open(&root).unwrap();
    rig.object = load(&rig.pins).unwrap();
    rig.maps = Maps::take(&mut rig.object.ebpf).unwrap();
    rig.restore();
    rig.pins.others().unwrap().remove(0)
}

fn here(node: NodeRow) -> (Local, NodeRow) {
    let local = Local {
        interfaces: ["a", "b"].map(interface).into(),
        projects: BTreeSet::from([project_key("a")]),
    };
    (local, node)
}

#[test]
fn connections_go_on() {
    with_rig(|rig| {
        set(rig, "b", vec![deny_all()]);
        let asked = |port| udp((OUTSIDE, port), (B, 53));
        let answer = |port| udp((B, 53), (OUTSIDE, port));
        let served = udp((A, 80), (G, 6000));
        for port in 1..=8 {
            assert_eq!(receives(rig, "b", &asked(port)), NEXT);
        }
        assert_eq!(receives(rig, "a", &udp((G, 6000), (A, 80))), NEXT);
        // The clock of the programs has too few ticks to tell these apart: each a second after the one before.
        let mut noted_by_port = table::<FlowKey, FlowRow>(rig, map::FLOWS);
        let rows: Vec<_> = noted_by_port.iter().map(Result::unwrap).collect();
        for (Row(key), Row(row)) in rows {
            if row.ifindex == interface("b") {
                let seen = row.seen - (8 - u64::from(key.remote_port)) * 1_000_000_000;
                let row = Row(FlowRow { seen, ..row });
                noted_by_port.insert(Row(key), row, 0).unwrap();
            }
        }

        let old = start_anew(rig);
        assert_eq!(sends(rig, "b", &answer(8)), DROP, "nobody has asked");
        assert_eq!(sends(rig, "a", &served), REDIRECT, "not translated");
        // The service's client is `g`'s pod.
        let (mut local, node) = here(NodeRow {
            flow_share: 4,
            learned_limit: 1,
            ..NodeRow::default()
        });
        local.interfaces.insert(interface("g"));
        let mut seen = Seen::default();
        let mut carry =
            |rig: &mut Rig| (rig.maps.carry(&old, &local, &node, &mut seen, monotonic())).unwrap();
        assert_eq!(carry(rig), 5, "a share, and the service's");
        assert_eq!(sends(rig, "a", &served), NEXT, "the host translates back");
        assert_eq!(sends(rig, "b", &answer(8)), NEXT, "the last of the share");
        assert_eq!(sends(rig, "b", &answer(1)), DROP, "a share is a share");
        assert_eq!(noted(rig, interface("b")), 4);
        // What comes now finds its place behind them.
        let used: FlowUseRow = table(rig, map::FLOW_USE)
            .get(&Row(interface("b")), 0)
            .unwrap()
            .0;
        assert!(used.next >= 4, "{used:?}");

        // Once more, as before the old version's tables go: what has given way does not come back, what is new comes.
        let (key, row) = noted_by_port.iter().next().unwrap().unwrap();
        let key = FlowKey {
            pod_port: 99,
            ..key.0
        };
        noted_by_port.insert(Row(key), row, 0).unwrap();
        assert_eq!(carry(rig), 1);
        assert_eq!(sends(rig, "b", &answer(8)), NEXT, "it keeps its place");
    });
}

#[test]
fn connections_of_pods_that_are_gone_stay_behind() {
    with_rig(|rig| {
        set(rig, "b", vec![deny_all()]);
        assert_eq!(receives(rig, "b", &udp((OUTSIDE, 1), (B, 53))), NEXT);
        let old = start_anew(rig);
        let node = NodeRow {
            flow_share: 4,
            learned_limit: 1,
            ..NodeRow::default()
        };
        let nobody = Local::default();
        let carried = (rig.maps)
            .carry(&old, &nobody, &node, &mut Seen::default(), monotonic())
            .unwrap();
        assert_eq!((carried, noted(rig, interface("b"))), (0, 0));
    });
}

#[test]
fn learned_names_go_on() {
    with_rig(|rig| {
        let now = monotonic();
        let key = |last, project: &str| LearnedKey {
            project: project_key(project),
            addr: Addr::from(IpAddr::from([198, 51, 100, last])),
        };
        let row = |used, expires| {
            let mut row = LearnedRow {
                used,
                slot: 7,
                ..LearnedRow::default()
            };
            row.names[0] = LearnedName {
                name: 1,
                expires,
                ifindex: interface("a"),
                ttl: 60,
            };
            row
        };
        let later = now + 60_000_000_000;
        let mut learned = table(rig, map::LEARNED);
        for (key, row) in [
            (key(1, "a"), row(10, later)),
            (key(2, "a"), row(30, later)),
            (key(3, "a"), row(20, later)),
            (key(4, "a"), row(40, now - 1)),
            (key(5, "b"), row(50, later)),
        ] {
            learned.insert(Row(key), Row(row), 0).unwrap();
        }
        let old = start_anew(rig);
        let (local, node) = here(NodeRow {
            flow_share: 4,
            learned_limit: 2,
            ..NodeRow::default()
        });
        let carried = (rig.maps)
            .carry(&old, &local, &node, &mut Seen::default(), now)
            .unwrap();
        assert_eq!(carried, 2, "of five: one is over, one another project's");

        let learned = table::<LearnedKey, LearnedRow>(rig, map::LEARNED);
        let ring = table::<RingKey, Addr>(rig, map::RING);
        for (last, slot) in [(3, 0), (2, 1)] {
            let key = key(last, "a");
            let row = learned.get(&Row(key), 0).unwrap().0;
            assert_eq!((row.slot, row.names[0].expires), (slot, later));
            let place = RingKey {
                project: key.project,
                slot,
                reserved: 0,
            };
            assert_eq!(ring.get(&Row(place), 0).unwrap().0, key.addr);
        }
        assert_eq!(learned.iter().count(), 2);
        let learning = table::<_, LearningRow>(rig, map::LEARNING);
        let progress = learning.get(&Row(project_key("a")), 0).unwrap().0;
        assert_eq!(progress.next, 2, "the next address takes the next place");
    });
}
