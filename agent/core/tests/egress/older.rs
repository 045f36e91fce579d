//! Connections that were open before the project had a policy.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weft_core::compile::egress::flows::flows;
use weft_core::model::{Connection, Direction};
use weft_ebpf::packet::{Packet, proto};

use crate::scene::*;

fn direction(packet: &Packet) -> Direction {
    Direction {
        from: SocketAddr::new(packet.src.to_ip(), packet.src_port),
        to: SocketAddr::new(packet.dst.to_ip(), packet.dst_port),
    }
}

/// A connection that nothing translates, by its first packet.
fn connection(first: &Packet) -> Connection {
    Connection {
        protocol: first.proto,
        opened: direction(first),
        answered: direction(&reversed(first)),
    }
}

/// A pod with its first policy, which denies everything, and these connections from before.
fn scene(connections: &[Connection]) -> Scene {
    let scene = Scene::new(deny_all().into());
    let pods: BTreeMap<_, _> = POD
        .map(|pod| (pod.parse::<std::net::IpAddr>().unwrap().into(), IFINDEX))
        .into();
    let rows = flows(connections, &pods, scene.live.now.get());
    scene.live.flows.borrow_mut().extend(rows);
    scene
}

#[test]
fn answers_of_older_connections_pass() {
    for (far, rule) in [(FAR[0], 1), (FAR[1], 2)] {
        for (asked, answer) in [
            (syn(80, far, 5000), tcp(80, far, 5000)),
            (udp(53, far, 5000), udp(53, far, 5000)),
            (ping(far), icmp(far)),
        ] {
            assert_eq!(scene(&[]).out(&answer), denied(rule), "{answer:?}");
            let scene = scene(&[connection(&reversed(&asked))]);
            assert_eq!(scene.out(&answer), Ok(()), "{answer:?}");
        }
    }
}

/// Though the outside goes on sending: it only answers.
#[test]
fn what_the_pod_opened_ends() {
    for sent in [
        udp(7000, FAR[0], 9),
        Packet {
            proto: proto::SCTP,
            ..udp(7000, FAR[0], 9)
        },
        syn(7000, FAR[0], 9),
    ] {
        let scene = scene(&[connection(&sent)]);
        assert_eq!(scene.out(&sent), denied(1));
        if sent.proto != proto::TCP {
            scene.back(&reversed(&sent));
        }
        assert_eq!(scene.out(&sent), denied(1), "{sent:?}");
    }
}

/// The pod sees the gateway, where the host has translated who came from outside.
#[test]
fn answers_go_where_the_translation_sends_them() {
    let asked = syn(80, FAR[0], 5000);
    let answer = syn(80, NODE, 6000);
    let scene = scene(&[Connection {
        protocol: proto::TCP,
        opened: Direction {
            from: SocketAddr::new(FAR[0].parse().unwrap(), 5000),
            to: SocketAddr::new(NODE.parse().unwrap(), 30080),
        },
        answered: direction(&answer),
    }]);
    assert_eq!(scene.out(&tcp(80, NODE, 6000)), Ok(()));
    let direct = Packet { opens: 0, ..asked };
    assert_eq!(scene.out(&direct), denied(1));
}
