//! What pods send to addresses that the host translates: judged by where it goes.

use weft_core::model::{Change, Protocol};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Verdict};
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;

use crate::scene::*;

/// Denies the one address outside of each family, but for a port, and all of the node.
fn scene() -> Scene {
    Scene::new(vec![
        on(Protocol::Tcp, 443, allow("198.51.100.9/32")),
        deny("198.51.100.9/32"),
        deny("2001:db8::9/128"),
        deny("192.168.50.11/32"),
    ])
}

#[track_caller]
fn translated(scene: &Scene, packet: &Packet) -> Result<(), Refusal> {
    match decide::after_dnat(&scene.live, packet) {
        Verdict::Pass => Ok(()),
        Verdict::Drop(denial) => Err((denial.reason, denial.rule)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_rule_for_the_real_destination_decides() {
    let scene = scene();
    for (packet, outcome) in [
        (syn(1, FAR[0], 443), Ok(())),
        (syn(1, FAR[0], 80), denied(2)),
        (udp(1, FAR[0], 443), denied(2)),
        (ping(FAR[0]), denied(2)),
        (syn(1, FAR[1], 443), denied(3)),
        (udp(1, FAR[1], 443), denied(3)),
        (syn(1, OTHER, 80), Ok(())),
        (syn(1, NODE, 10_250), denied(4)),
        // What every pod may ask of its node: its name server, and its address in the pod network.
        (syn(1, NODE, 53), Ok(())),
        (udp(1, NODE, 53), Ok(())),
        (udp(1, "10.128.2.1", 80), Ok(())),
    ] {
        assert_eq!(translated(&scene, &packet), outcome, "{packet:?}");
        assert_eq!(
            scene.out(&packet),
            outcome,
            "as when sent directly: {packet:?}"
        );
    }
}

/// Another program judges where it is handed over, or nobody translated it and it does not leave.
#[test]
fn what_stays_in_the_cluster_is_not_the_firewalls() {
    let scene = Scene::new(deny_all().into());
    for to in ["10.128.2.6", "10.130.0.5", "172.30.0.10", "fd01:0:0:7::5"] {
        assert_eq!(translated(&scene, &syn(1, to, 80)), Ok(()), "{to}");
    }
    // Nor is what others send: the node itself, and whoever is outside.
    for from in [NODE, OTHER, "10.130.0.5"] {
        let packet = Packet {
            src: Addr::from(from.parse::<std::net::IpAddr>().unwrap()),
            ..syn(1, FAR[0], 80)
        };
        assert_eq!(translated(&scene, &packet), Ok(()), "{from}");
    }
}

#[test]
fn a_closed_project_sends_nothing_out() {
    let mut scene = scene();
    scene.world.take(Change::Project("a".into(), None));
    scene.live.tables = weft_core::compile::compile(&scene.world);
    let closed = Err((DropReason::SourceProjectClosed, 0));
    assert_eq!(translated(&scene, &syn(1, OTHER, 80)), closed);
}

/// A connection that a name allowed goes on when the name has another address.
#[test]
fn open_connections_go_on() {
    let mut scene = Scene::new([&[allow("a.example")][..], &deny_all()].concat());
    scene.tell(FAR[0], &["a.example"], 60);
    assert_eq!(translated(&scene, &syn(1, FAR[0], 80)), Ok(()));
    scene.later(61);
    assert_eq!(translated(&scene, &tcp(1, FAR[0], 80)), Ok(()));
    assert_eq!(translated(&scene, &syn(2, FAR[0], 80)), denied(2));
}
