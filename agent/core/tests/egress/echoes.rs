//! Echoes, errors, and what shows no ports: packets of both directions have one key there.

use weft_core::model::Protocol;
use weft_ebpf::packet::proto;

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

/// A later fragment shows no ports: it opens nothing, no rule with ports concerns it, and it is an answer only where a
/// connection has no ports either.
#[test]
fn later_fragments() {
    let mut scene = Scene::new(deny_all().into());
    scene.back(&reversed(&fragment(&udp(53, FAR[0], 5000))));
    assert_eq!(
        scene.out(&fragment(&udp(53, FAR[0], 5000))),
        denied(1),
        "it opens nothing"
    );
    scene.back(&reversed(&udp(53, FAR[0], 5000)));
    assert_eq!(
        scene.out(&fragment(&udp(53, FAR[0], 5000))),
        denied(1),
        "no port, no connection"
    );
    scene.back(&reversed(&ping(FAR[0])));
    assert_eq!(
        scene.out(&fragment(&icmp(FAR[0]))),
        Ok(()),
        "a large echo's answer"
    );

    let dns = |rule| on(Protocol::Udp, 53, rule);
    scene.set(vec![dns(allow("0.0.0.0/0")), deny("0.0.0.0/0")]);
    assert_eq!(scene.out(&udp(9, OTHER, 53)), Ok(()));
    assert_eq!(scene.out(&fragment(&udp(9, OTHER, 53))), denied(2));
    scene.set(vec![dns(deny("0.0.0.0/0"))]);
    assert_eq!(
        scene.out(&udp(9, OTHER, 53)),
        denied(1),
        "without its beginning the rest is nothing"
    );
    assert_eq!(scene.out(&fragment(&udp(9, OTHER, 53))), Ok(()));
}
