//! Echoes, errors, and what shows no ports: packets of both directions have one key there.

use std::net::IpAddr;

use weft_core::model::Protocol;
use weft_ebpf::packet::{Packet, proto};

use crate::scene::*;

/// Else one ping from outside would open pings to it for as long as the pod likes.
#[test]
fn an_echo_request_is_no_answer() {
    let scene = Scene::new(deny_all().into());
    for (far, rule) in [(FAR[0], 1), (FAR[1], 2)] {
        scene.back(&reversed(&ping(far)));
        assert_eq!(scene.out(&icmp(far)), Ok(()));
        assert_eq!(scene.out(&ping(far)), denied(rule));
    }
}

/// A pod that has pinged, and may not any more, still answers.
#[test]
fn who_pinged_before_may_answer_still() {
    let mut scene = Scene::new(vec![]);
    assert_eq!(scene.out(&ping(FAR[0])), Ok(()));
    scene.set(deny_all().into());
    scene.back(&reversed(&ping(FAR[0])));
    assert_eq!(scene.out(&icmp(FAR[0])), Ok(()));
    assert_eq!(scene.out(&ping(FAR[0])), denied(1));
}

/// A ping by name goes on although the other side pings, too.
#[test]
fn pings_cross() {
    let mut scene = Scene::new(vec![allow("a.example.com"), deny("0.0.0.0/0")]);
    scene.tell(FAR[0], &["a.example.com"], 30);
    assert_eq!(scene.out(&ping(FAR[0])), Ok(()));
    scene.later(31);
    scene.back(&reversed(&ping(FAR[0])));
    assert_eq!(scene.out(&icmp(FAR[0])), Ok(()));
    assert_eq!(scene.out(&ping(FAR[0])), Ok(()));
}

#[test]
fn errors_open_nothing() {
    let scene = Scene::new(deny_all().into());
    for (far, rule) in [(FAR[0], 1), (FAR[1], 2)] {
        scene.back(&reversed(&icmp(far)));
        assert_eq!(scene.out(&icmp(far)), denied(rule));
        // Nor does the connection that an error is about.
        scene.back(&reversed(&udp(53, far, 5000)));
        assert_eq!(scene.out(&icmp(far)), denied(rule));
    }
    assert!(
        scene
            .live
            .flows
            .borrow()
            .keys()
            .all(|key| key.proto == proto::UDP)
    );
}

/// A later fragment shows no ports: it goes where the first one went.
#[test]
fn fragments_go_together() {
    let mut scene = Scene::new(deny_all().into());
    let (first, later) = fragments(&udp(53, FAR[0], 5000), 77);
    assert_eq!(scene.out(&first), denied(1));
    assert_eq!(scene.out(&later), denied(1));
    scene.back(&reversed(&udp(53, FAR[0], 5000)));
    assert_eq!(scene.out(&first), Ok(()), "a large answer");
    assert_eq!(scene.out(&later), Ok(()), "its rest");
    assert_eq!(
        scene.out(&fragments(&udp(53, FAR[0], 5000), 78).1),
        denied(1),
        "of another packet"
    );
    let elsewhere = Packet {
        dst: "203.0.113.9".parse::<IpAddr>().unwrap().into(),
        ..later
    };
    assert_eq!(scene.out(&elsewhere), denied(1), "to another address");
    let other = Packet {
        proto: proto::TCP,
        ..later
    };
    assert_eq!(scene.out(&other), denied(1), "of another protocol");
    scene.later(30);
    assert_eq!(scene.out(&later), denied(1), "nobody waits for it any more");

    let dns = |rule| on(Protocol::Udp, 53, rule);
    let (first, later) = fragments(&udp(9, OTHER, 53), 79);
    scene.set(vec![dns(allow("0.0.0.0/0")), deny("0.0.0.0/0")]);
    assert_eq!(scene.out(&later), denied(2), "it is too early");
    assert_eq!(scene.out(&first), Ok(()));
    assert_eq!(scene.out(&later), Ok(()));
    scene.set(vec![dns(deny("0.0.0.0/0"))]);
    let (first, later) = fragments(&udp(9, OTHER, 53), 80);
    assert_eq!(
        scene.out(&first),
        denied(1),
        "without its beginning the rest is nothing"
    );
    assert_eq!(scene.out(&later), Ok(()));
}

/// A fragment that the outside sends opens nothing, unless it is the first.
#[test]
fn later_fragments_open_nothing() {
    let scene = Scene::new(deny_all().into());
    let (first, later) = fragments(&udp(5000, FAR[0], 53), 77);
    scene.back(&reversed(&later));
    assert_eq!(scene.out(&first), denied(1));
    scene.back(&reversed(&first));
    assert_eq!(scene.out(&udp(5000, FAR[0], 53)), Ok(()));
}
