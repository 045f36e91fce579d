//! Who may go on talking when a rule says no.

use weft_core::model::Protocol;
use weft_ebpf::packet::{Packet, proto};
use weft_ebpf::rows::egress::HitKey;

use crate::scene::*;

const DAY: u64 = 24 * 3600;
const IDLE: u64 = 600;

/// What a rule would deny passes as an answer: the policy is about what pods begin.
#[test]
fn answers_to_connections_from_outside_pass() {
    let scene = Scene::new(deny_all().into());
    for (far, rule) in [(FAR[0], 1), (FAR[1], 2), (NODE, 1)] {
        for (asked, answer) in [
            (syn(80, far, 5000), tcp(80, far, 5000)),
            (udp(53, far, 5000), udp(53, far, 5000)),
            (ping(far), icmp(far)),
        ] {
            assert_eq!(
                scene.out(&answer),
                denied(rule),
                "nobody has asked: {answer:?}"
            );
            scene.back(&reversed(&asked));
            assert_eq!(scene.out(&answer), Ok(()), "{answer:?}");
        }
        assert_eq!(
            scene.out(&tcp(81, far, 5000)),
            denied(rule),
            "another port of the pod"
        );
        assert_eq!(
            scene.out(&tcp(80, far, 5001)),
            denied(rule),
            "another port of the other"
        );
        assert_eq!(
            scene.out(&udp(80, far, 5000)),
            denied(rule),
            "another protocol"
        );
    }
    assert_eq!(
        scene.out(&tcp(80, OTHER, 5000)),
        denied(1),
        "another address"
    );
}

#[test]
fn a_syn_is_never_an_answer() {
    let scene = Scene::new(deny_all().into());
    scene.back(&reversed(&syn(80, FAR[0], 5000)));
    assert_eq!(scene.out(&tcp(80, FAR[0], 5000)), Ok(()));
    assert_eq!(scene.out(&syn(80, FAR[0], 5000)), denied(1));
    assert_eq!(
        scene.out(&tcp(80, FAR[0], 5000)),
        Ok(()),
        "the old one goes on"
    );
}

/// A packet in the middle of a connection shows nothing of who opened it.
#[test]
fn only_what_opens_a_connection_is_noted() {
    let scene = Scene::new(deny_all().into());
    scene.back(&reversed(&tcp(80, FAR[0], 5000)));
    assert_eq!(scene.out(&tcp(80, FAR[0], 5000)), denied(1));
    assert!(scene.live.flows.borrow().is_empty());
}

#[test]
fn an_answer_from_outside_opens_nothing() {
    for protocol in [proto::UDP, proto::SCTP, 47] {
        let mut scene = Scene::new(vec![]);
        let sent = Packet {
            proto: protocol,
            ..udp(7000, FAR[0], 9)
        };
        assert_eq!(scene.out(&sent), Ok(()));
        scene.set(deny_all().into());
        scene.back(&reversed(&sent));
        assert_eq!(scene.out(&sent), denied(1), "protocol {protocol}");
        scene.later(IDLE - 1);
        scene.back(&reversed(&sent));
        scene.later(IDLE - 1);
        assert_eq!(
            scene.out(&sent),
            denied(1),
            "answers keep it known for what it is"
        );
    }
}

/// The other way round: that the pod may send for a while makes an answer no connection of its own.
#[test]
fn a_connection_from_outside_stays_one() {
    let mut scene = Scene::new(vec![]);
    let answer = udp(53, FAR[0], 5000);
    scene.back(&reversed(&answer));
    assert_eq!(scene.out(&answer), Ok(()));
    scene.set(deny_all().into());
    assert_eq!(scene.out(&answer), Ok(()));
}

/// What was open with a pod is not open with the next one that has its address.
#[test]
fn a_connection_ends_with_its_pod() {
    let mut scene = Scene::new(deny_all().into());
    let answer = udp(53, FAR[0], 5000);
    scene.back(&reversed(&answer));
    let (first, later) = fragments(&answer, 7);
    assert_eq!(scene.out(&first), Ok(()));
    scene.another_pod(IFINDEX + 1);
    assert_eq!(scene.out(&answer), denied(1));
    assert_eq!(scene.out(&later), denied(1), "nor the rest of a packet");
    scene.back(&reversed(&answer));
    assert_eq!(scene.out(&answer), Ok(()), "it has connections of its own");
}

#[test]
fn a_connection_ends_when_nothing_is_sent() {
    for (asked, answer, idle) in [
        (syn(80, FAR[0], 5000), tcp(80, FAR[0], 5000), DAY),
        (udp(53, FAR[0], 5000), udp(53, FAR[0], 5000), IDLE),
        (ping(FAR[0]), icmp(FAR[0]), IDLE),
    ] {
        let scene = Scene::new(deny_all().into());
        scene.back(&reversed(&asked));
        scene.later(idle - 1);
        assert_eq!(scene.out(&answer), Ok(()));
        scene.later(idle - 1);
        assert_eq!(scene.out(&answer), Ok(()), "an answer keeps it open");
        scene.later(idle);
        assert_eq!(scene.out(&answer), denied(1), "{answer:?}");
    }
}

fn by_name() -> Scene {
    let mut rules = vec![allow("a.example.com")];
    rules.extend(deny_all());
    let mut scene = Scene::new(rules);
    scene.tell(FAR[0], &["a.example.com"], 30);
    scene
}

#[test]
fn a_connection_by_name_outlives_the_address() {
    for (open, go_on) in [
        (syn(6000, FAR[0], 443), tcp(6000, FAR[0], 443)),
        (udp(6000, FAR[0], 443), udp(6000, FAR[0], 443)),
        (ping(FAR[0]), ping(FAR[0])),
    ] {
        let scene = by_name();
        assert_eq!(scene.out(&open), Ok(()));
        scene.later(31);
        for _ in 0..3 {
            assert_eq!(scene.out(&go_on), Ok(()), "{go_on:?}");
            scene.later(IDLE - 1);
        }
        let other = Packet {
            src_port: 6001,
            ..go_on
        };
        if other.proto == proto::TCP || other.proto == proto::UDP {
            assert_eq!(scene.out(&other), denied(2), "another connection");
        }
        assert_eq!(
            scene.out(&syn(6000, FAR[0], 443)),
            denied(2),
            "a SYN begins a new one"
        );
        scene.later(DAY);
        assert_eq!(scene.out(&go_on), denied(2), "nothing was sent for a day");
    }
}

/// Under a policy that has changed, a connection by name goes on just as long as the name could be allowed there.
#[test]
fn a_connection_by_name_ends_with_the_rule() {
    let mut scene = by_name();
    let go_on = tcp(6000, FAR[0], 443);
    assert_eq!(scene.out(&syn(6000, FAR[0], 443)), Ok(()));
    scene.later(31);
    let all = || deny("0.0.0.0/0");
    for (why, rules, expected) in [
        (
            "the same rules",
            vec![allow("a.example.com"), all()],
            Ok(()),
        ),
        (
            "a denial elsewhere",
            vec![deny("203.0.113.0/24"), allow("a.example.com"), all()],
            Ok(()),
        ),
        (
            "the address is denied first",
            vec![deny("198.51.100.0/24"), allow("a.example.com"), all()],
            denied(1),
        ),
        (
            "it is denied first on this port",
            vec![on(Protocol::Tcp, 443, all()), allow("a.example.com"), all()],
            denied(1),
        ),
        (
            "on another port",
            vec![on(Protocol::Tcp, 80, all()), allow("a.example.com"), all()],
            Ok(()),
        ),
        (
            "the name is allowed on this port",
            vec![on(Protocol::Tcp, 443, allow("a.example.com")), all()],
            Ok(()),
        ),
        (
            "on another port alone",
            vec![on(Protocol::Tcp, 80, allow("a.example.com")), all()],
            denied(2),
        ),
        (
            "the name is denied",
            vec![deny("a.example.com"), allow("a.example.com"), all()],
            denied(3),
        ),
        (
            "a wildcard around it is denied",
            vec![deny("*.example.com"), allow("a.example.com"), all()],
            denied(3),
        ),
        (
            "a wildcard around it is denied later",
            vec![allow("a.example.com"), deny("*.example.com"), all()],
            Ok(()),
        ),
        (
            "a wildcard around it is denied on this port",
            vec![
                on(Protocol::Tcp, 443, deny("*.com")),
                allow("a.example.com"),
                all(),
            ],
            denied(3),
        ),
        (
            "another name",
            vec![allow("b.example.com"), all()],
            denied(2),
        ),
        ("no name", vec![all()], denied(1)),
        (
            "the rule is back",
            vec![allow("a.example.com"), all()],
            Ok(()),
        ),
    ] {
        scene.set(rules);
        assert_eq!(scene.out(&go_on), expected, "{why}");
    }
}

/// Counters tell what rules met; a packet that passes since its connection is open met none that let it pass.
#[test]
fn rules_count_what_they_decide() {
    let scene = by_name();
    let number = scene.world.egress_policies["a"]["default"].number();
    let counted = |rank| {
        let key = HitKey {
            policy: number,
            rank,
            reserved: 0,
        };
        let hits = scene.live.hits.borrow();
        hits.get(&key)
            .map_or((0, 0), |row| (row.packets, row.bytes))
    };
    scene.out(&syn(6000, FAR[0], 443)).unwrap();
    scene.out(&tcp(6000, FAR[0], 443)).unwrap();
    scene.out(&udp(1, OTHER, 1)).unwrap_err();
    assert_eq!([0, 1, 2].map(counted), [(2, 200), (1, 100), (0, 0)]);
    scene.later(31);
    scene.out(&tcp(6000, FAR[0], 443)).unwrap();
    assert_eq!([0, 1, 2].map(counted), [(2, 200), (1, 100), (0, 0)]);
}

/// Established TCP needs no memory where addresses decide: a node with many connections keeps room for the others.
#[test]
fn what_no_rule_can_take_back_is_not_noted() {
    let scene = Scene::new(vec![allow("198.51.100.0/24"), deny("0.0.0.0/0")]);
    assert_eq!(scene.out(&syn(6000, FAR[0], 443)), Ok(()));
    assert_eq!(scene.out(&tcp(6000, FAR[0], 443)), Ok(()));
    assert_eq!(scene.out(&syn(6000, OTHER, 443)), denied(2));
    assert!(scene.live.flows.borrow().is_empty());
}
