//! The decisions over compiled tables do what the reference says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_core::compile::{compile, project_key};
use weft_core::model::{HostSubnet, World};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Verdict};
use weft_ebpf::packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{ProjectKey, VNID_CLOSED};

use crate::firewall::Lessons;
use crate::live::Live;
use crate::policies::{PATTERNS, Told, name_pattern, told};
use crate::reference::{self, Fate, Packet};
use crate::scenes::{Scene, draw, interesting, ruled};
use crate::worlds::{PROJECTS, world};

fn parsed(packet: &Packet) -> packet::Packet {
    packet::Packet {
        src_mac: packet.src_mac,
        src: Addr::from(packet.src),
        dst: Addr::from(packet.dst),
        src_port: 1234,
        dst_port: packet.dst_port,
        proto: packet.proto,
        opens: 1,
        len: 100,
        ..packet::Packet::default()
    }
}

/// Whether the verdict is the fate, with the same reason and the same parties.
fn same(verdict: &Verdict, fate: &Fate) -> bool {
    let key = |name: &Option<String>| name.as_deref().map_or(ProjectKey(0), project_key);
    match (verdict, fate) {
        (Verdict::Deliver(row), Fate::Deliver { ifindex, mac }) => {
            row.ifindex == *ifindex && row.mac == *mac
        }
        (Verdict::Tunnel { node, vnid }, Fate::Tunnel { node: ip, vnid: id }) => {
            node.to_ip() == *ip && vnid == id
        }
        (Verdict::Pass, Fate::Host) => true,
        (Verdict::Drop(denial), Fate::Drop(reason)) => denial.reason == *reason,
        (
            Verdict::Drop(denial),
            Fate::Bar {
                reason,
                project,
                network,
                rule,
            },
        ) => {
            denial.reason == *reason
                && denial.rule == *rule
                && denial.src_project == project_key(project)
                && denial.src_vnid == *network
        }
        (Verdict::Drop(denial), Fate::Refuse { reason, from, to }) => {
            denial.reason == *reason
                && denial.src_project == key(&from.0)
                && denial.dst_project == key(&to.0)
                && denial.src_vnid == from.1.unwrap_or(VNID_CLOSED)
                && denial.dst_vnid == to.1.unwrap_or(VNID_CLOSED)
        }
        _ => false,
    }
}

/// The compiled tables, with what pods of these projects were told; and the same for the reference.
fn taught(world: &World, told: &[Told]) -> (Live, Lessons) {
    let mut live = Live::new(compile(world));
    let mut lessons = Lessons::new();
    for it in told {
        let project = *it.project.get(&PROJECTS);
        let patterns = PATTERNS.map(name_pattern).into_iter();
        let patterns: Vec<_> = patterns.filter(|p| p.covers(&it.name)).collect();
        let now = live.now.get();
        let key = (project.to_owned(), it.address);
        live.tell(
            project,
            it.address,
            &patterns,
            if it.over { now } else { now + 1 },
        );
        if it.over {
            lessons.remove(&key);
        } else {
            lessons.insert(key, it.name.clone());
        }
    }
    (live, lessons)
}

/// Each program's verdict beside what must happen.
fn all(
    world: &World,
    tables: &Live,
    lessons: &Lessons,
    scene: &Scene,
) -> [(&'static str, Verdict, Fate); 5] {
    let Scene {
        packet,
        from,
        entered,
        to,
        peer,
        vnid,
    } = scene;
    let headers = parsed(packet);
    [
        (
            "from_pod",
            decide::from_pod(tables, &headers, *from),
            reference::from_pod(world, packet, *from, lessons),
        ),
        (
            "to_pod",
            decide::to_pod(tables, &headers, *to, *entered),
            reference::to_pod(world, packet, *to, *entered),
        ),
        (
            "from_overlay",
            decide::from_overlay(tables, &headers, Addr::from(*peer), *vnid),
            reference::from_overlay(world, packet, *peer, *vnid),
        ),
        (
            "to_overlay",
            decide::to_overlay(tables, &headers, *entered),
            reference::to_overlay(world, packet, *entered),
        ),
        (
            "after_dnat",
            decide::after_dnat(tables, &headers),
            reference::after_dnat(world, packet, lessons),
        ),
    ]
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn compiled_tables_agree_with_the_model(
        world in world(),
        told in prop::collection::vec(told(), 0..8),
        draws in prop::collection::vec(draw(), 1..200),
    ) {
        let (tables, lessons) = taught(&world, &told);
        let (interesting, ruled) = (interesting(&world), ruled(&world, &told));
        for draw in &draws {
            let scene = draw.scene(&world, &interesting, &ruled);
            tables.flows.borrow_mut().clear(); // each packet by itself
            for (program, verdict, fate) in all(&world, &tables, &lessons, &scene) {
                prop_assert!(
                    same(&verdict, &fate),
                    "{program}: decided {verdict:?}, must be {fate:?}, for {scene:?}"
                );
            }
        }
    }
}

/// The generators reach every outcome: a property that holds of nothing would hold, too.
#[test]
fn random_packets_meet_every_outcome() {
    use DropReason as R;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let told = prop::collection::vec(told(), 0..8);
    let strategy = (world(), told, prop::collection::vec(draw(), 200));
    let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for _ in 0..400 {
        let (world, told, draws) = strategy.new_tree(&mut runner).unwrap().current();
        let (tables, lessons) = taught(&world, &told);
        let (interesting, ruled) = (interesting(&world), ruled(&world, &told));
        for draw in &draws {
            let scene = draw.scene(&world, &interesting, &ruled);
            for (program, _, fate) in all(&world, &tables, &lessons, &scene) {
                let name = match fate {
                    Fate::Deliver { .. } => "deliver",
                    Fate::Tunnel { .. } => "tunnel",
                    Fate::Host => "host",
                    Fate::Drop(reason) | Fate::Bar { reason, .. } | Fate::Refuse { reason, .. } => {
                        reason.name()
                    }
                };
                // Behind the node's own address.
                let gateways = world.own_host().into_iter().flat_map(HostSubnet::gateways);
                let own: Vec<_> = world
                    .node
                    .addresses
                    .iter()
                    .copied()
                    .chain(gateways)
                    .collect();
                let own = own.contains(&scene.packet.src);
                let program = match program {
                    "to_pod" if own && scene.entered > 2 => "to_pod, hidden",
                    "to_overlay" if own && scene.entered > 2 => "to_overlay, hidden",
                    program => program,
                };
                *seen.entry((program, name.to_owned())).or_default() += 1;
            }
        }
    }
    let reasons = |program: &str, outcomes: &[&str], drops: &[DropReason]| {
        let drops = drops.iter().map(|reason| reason.name());
        for outcome in outcomes.iter().copied().chain(drops) {
            let times = seen.get(&(program, outcome.to_owned())).copied();
            assert!(
                times.unwrap_or_default() >= 10,
                "{program}: {outcome} came {times:?} times, of {seen:?}"
            );
        }
    };
    let admission = [R::Isolated, R::SourceProjectClosed, R::TargetProjectClosed];
    let drops = |own: &[DropReason]| [own, &admission].concat();
    reasons(
        "from_pod",
        &["deliver", "tunnel", "host"],
        &drops(&[
            R::SpoofedAddress,
            R::SpoofedMac,
            R::ForgedOverlay,
            R::NoSuchPod,
            R::NoSuchNode,
            R::MulticastDisabled,
            R::Loopback,
            R::EgressDenied,
            R::EgressClosed,
        ]),
    );
    reasons(
        "to_pod",
        &["deliver"],
        &drops(&[R::NoSuchPod, R::WrongInterface, R::UnexpectedSource]),
    );
    reasons("to_pod, hidden", &["deliver"], &admission);
    reasons("to_overlay, hidden", &["tunnel"], &[R::SourceProjectClosed]);
    reasons(
        "from_overlay",
        &["deliver", "host"],
        &[
            R::Isolated,
            R::TargetProjectClosed,
            R::UnknownPeer,
            R::ForeignSource,
            R::NoSuchPod,
            R::NotForThisNode,
        ],
    );
    reasons(
        "to_overlay",
        &["tunnel"],
        &[
            R::ForeignSource,
            R::NoSuchNode,
            R::NoSuchPod,
            R::SourceProjectClosed,
        ],
    );
    reasons(
        "after_dnat",
        &["host"],
        &[R::EgressDenied, R::EgressClosed, R::SourceProjectClosed],
    );
}
