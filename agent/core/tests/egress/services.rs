//! Connections through service addresses, which the host stack translates: their answers have to come back through it.

use std::net::IpAddr;

use weft_core::compile::compile;
use weft_core::model::{Change, Endpoint, EndpointId, HostSubnet};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Verdict};
use weft_ebpf::packet::{MORE_FRAGMENTS, Packet};
use weft_ebpf::reason::DropReason;

use crate::scene::*;

const NEAR: &str = "10.128.2.6";
const REMOTE: &str = "10.130.0.6";
const PEER: &str = "192.168.50.12";
const NEAR_IFINDEX: u32 = 8;
const NEAR_MAC: [u8; 6] = [0x0a, 0x58, 10, 128, 2, 6];

/// The pod of [`Scene`], another one of its project beside it, and a second node.
fn scene() -> Scene {
    let mut scene = Scene::new(vec![]);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let near = Endpoint {
        id: EndpointId {
            container: "near".into(),
            ifname: "eth0".into(),
        },
        project: "a".into(),
        pod: "near".into(),
        addresses: vec![ip(NEAR)],
        mac: NEAR_MAC,
        host_ifname: "weft1".into(),
        host_ifindex: NEAR_IFINDEX,
    };
    let node2 = HostSubnet {
        name: "node2".into(),
        ip: ip(PEER),
        subnets: vec!["10.130.0.0/23".parse().unwrap()],
    };
    scene
        .world
        .take(Change::Endpoint(near.id.clone(), Some(near)));
    scene
        .world
        .take(Change::HostSubnet("node2".into(), Some(node2)));
    scene.live.tables = compile(&scene.world);
    scene
}

/// What becomes of the other pod's answer.
fn answered(scene: &Scene, asked: &Packet) -> Verdict {
    let answer = Packet {
        src_mac: NEAR_MAC,
        opens: 0,
        ..reversed(asked)
    };
    decide::from_pod(&scene.live, &answer, NEAR_IFINDEX)
}

/// The same, from the other node.
fn answered_from_afar(scene: &Scene, asked: &Packet, vnid: u32) -> Verdict {
    let answer = Packet {
        opens: 0,
        ..reversed(asked)
    };
    let peer = Addr::from(PEER.parse::<IpAddr>().unwrap());
    decide::from_overlay(&scene.live, &answer, peer, vnid)
}

/// The host has translated the address of a service into that of the pod beside.
fn translated(scene: &Scene, asked: &Packet) {
    let verdict = decide::to_pod(&scene.live, asked, NEAR_IFINDEX, IFINDEX);
    assert!(matches!(verdict, Verdict::Deliver(_)), "{verdict:?}");
}

#[track_caller]
fn directly(verdict: Verdict) {
    assert!(matches!(verdict, Verdict::Deliver(_)), "{verdict:?}");
}

#[test]
fn answers_go_back_through_the_host_that_translated() {
    for asked in [syn(5000, NEAR, 80), udp(5000, NEAR, 53)] {
        let scene = scene();
        directly(answered(&scene, &asked));
        translated(&scene, &asked);
        assert_eq!(answered(&scene, &asked), Verdict::Pass);
        let other = Packet {
            src_port: 5001,
            ..asked
        };
        directly(answered(&scene, &other));
    }
    for asked in [syn(5000, REMOTE, 80), udp(5000, REMOTE, 53)] {
        let scene = scene();
        let sent = decide::to_overlay(&scene.live, &asked, IFINDEX);
        assert!(matches!(sent, Verdict::Tunnel { .. }), "{sent:?}");
        assert_eq!(answered_from_afar(&scene, &asked, 7), Verdict::Pass);
    }
}

/// The same ports, this time without the service.
#[test]
fn a_direct_connection_ends_what_was_noted() {
    for asked in [syn(5000, NEAR, 80), udp(5000, NEAR, 53)] {
        let scene = scene();
        translated(&scene, &asked);
        directly(decide::from_pod(&scene.live, &asked, IFINDEX));
        directly(answered(&scene, &asked));
    }
}

#[test]
fn the_next_pod_with_the_address_inherits_nothing() {
    let (mut scene, asked) = (scene(), udp(5000, REMOTE, 53));
    let sent = decide::to_overlay(&scene.live, &asked, IFINDEX);
    assert!(matches!(sent, Verdict::Tunnel { .. }), "{sent:?}");
    scene.another_pod(9);
    directly(answered_from_afar(&scene, &asked, 7));
}

/// The host puts an answer together before it translates it, so all of it goes there.
#[test]
fn fragments_of_an_answer_follow_the_first() {
    let (scene, asked) = (scene(), udp(5000, NEAR, 53));
    translated(&scene, &asked);
    let fragment = |place, ident| Packet {
        src_mac: NEAR_MAC,
        opens: 0,
        place,
        ident,
        ..reversed(&asked)
    };
    let portless = |packet| Packet {
        src_port: 0,
        dst_port: 0,
        ..packet
    };
    let sent = |packet: Packet| decide::from_pod(&scene.live, &packet, NEAR_IFINDEX);
    assert_eq!(sent(fragment(MORE_FRAGMENTS, 1)), Verdict::Pass);
    assert_eq!(sent(portless(fragment(180, 1))), Verdict::Pass);
    directly(sent(portless(fragment(180, 2))));
}

/// A note lets nobody in.
#[test]
fn answers_of_another_network_are_dropped() {
    let (scene, asked) = (scene(), syn(5000, REMOTE, 80));
    let sent = decide::to_overlay(&scene.live, &asked, IFINDEX);
    assert!(matches!(sent, Verdict::Tunnel { .. }), "{sent:?}");
    match answered_from_afar(&scene, &asked, 9) {
        Verdict::Drop(denial) => assert_eq!(denial.reason, DropReason::Isolated),
        other => panic!("{other:?}"),
    }
}
