//! What is stopped whatever was open.

use std::sync::Arc;

use ipnet::IpNet;
use weft_core::compile::egress::{EgressPolicyTable, Memo, Unfit};
use weft_core::model::{EgressPolicy, Protocol};
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::egress::{ANY_PORT, SearchKey};

use crate::scene::*;

const CLOSED: Result<(), Refusal> = Err((DropReason::EgressClosed, 0));
const MISSING: Result<(), Refusal> = Err((DropReason::EgressPolicyMissing, 0));

#[test]
fn a_closed_policy_stops_answers_too() {
    let mut scene = Scene::new(deny_all().into());
    let answers = [
        tcp(80, FAR[0], 5000),
        udp(53, FAR[1], 5000),
        icmp(FAR[0]),
        tcp(1, NODE, 2),
    ];
    scene.back(&reversed(&syn(80, FAR[0], 5000)));
    scene.back(&reversed(&udp(53, FAR[1], 5000)));
    scene.back(&reversed(&ping(FAR[0])));
    scene.back(&reversed(&syn(1, NODE, 2)));
    for answer in &answers {
        assert_eq!(scene.out(answer), Ok(()), "{answer:?}");
    }
    scene.policy(Some(EgressPolicy::invalid(
        "spec.egress: is missing".into(),
    )));
    for answer in &answers {
        assert_eq!(scene.out(answer), CLOSED, "{answer:?}");
    }
    let known = scene.live.flows.borrow().len();
    scene.back(&reversed(&syn(90, FAR[0], 5000)));
    assert_eq!(
        scene.live.flows.borrow().len(),
        known,
        "nothing is noted meanwhile"
    );
    // Mended, what the outside had opened goes on.
    scene.set(deny_all().into());
    for answer in &answers {
        assert_eq!(scene.out(answer), Ok(()), "{answer:?}");
    }
}

#[test]
fn without_a_policy_nothing_is_noted() {
    let mut scene = Scene::new(vec![]);
    scene.policy(None);
    assert_eq!(scene.out(&udp(1, FAR[0], 2)), Ok(()));
    scene.back(&reversed(&syn(80, FAR[0], 5000)));
    assert!(scene.live.flows.borrow().is_empty() && scene.live.hits.borrow().is_empty());
}

/// Which rows are missing.
type Gone = fn(&SearchKey) -> bool;

/// Rows that are not there are no permission.
#[test]
fn missing_rows_close() {
    let rules = || {
        let http = on(Protocol::Tcp, 80, deny("198.51.100.0/24"));
        vec![
            http,
            allow("a.example.com"),
            allow("0.0.0.0/0"),
            allow("::/0"),
        ]
    };
    let remove = |scene: &mut Scene, gone: fn(&SearchKey) -> bool| {
        let number = scene.world.egress_policies["a"]["default"].number();
        let mut table = EgressPolicyTable::clone(&scene.live.tables.egress_policies[&number]);
        table.searches.retain(|key, _| !gone(key));
        scene
            .live
            .tables
            .egress_policies
            .insert(number, Arc::new(table));
    };
    let packets = [
        syn(1, OTHER, 80),
        syn(1, OTHER, 81),
        syn(1, FAR[1], 80),
        syn(1, FAR[1], 81),
    ];
    let cases: [(&str, Gone, [bool; 4]); 4] = [
        ("IPv4", |key| key.family == 4, [true, true, false, false]),
        ("IPv6", |key| key.family == 6, [false, false, true, true]),
        (
            "ports",
            |key| key.class != ANY_PORT,
            [true, false, true, false],
        ),
        ("no ports", |key| key.class == ANY_PORT, [true; 4]),
    ];
    for (what, gone, missing) in cases {
        let mut scene = Scene::new(rules());
        for packet in &packets {
            assert_eq!(scene.out(packet), Ok(()));
        }
        scene.back(&reversed(&syn(80, OTHER, 80)));
        remove(&mut scene, gone);
        for (packet, missing) in packets.iter().zip(missing) {
            let expected = if missing { MISSING } else { Ok(()) };
            assert_eq!(scene.out(packet), expected, "{what}: {packet:?}");
        }
        if missing[0] {
            assert_eq!(
                scene.out(&tcp(80, OTHER, 80)),
                MISSING,
                "{what}: not even an answer"
            );
        }
    }
    let mut scene = Scene::new(rules());
    scene.live.tables.egress_policies.clear();
    assert_eq!(scene.out(&syn(1, OTHER, 81)), MISSING);
}

/// More lengths than the search has room for close the project, and say so; one less is in force.
#[test]
fn prefix_lengths() {
    let rules = |lengths: u8| {
        let base: IpNet = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"
            .parse()
            .unwrap();
        let net = |len| IpNet::new(base.addr(), len).unwrap().trunc().to_string();
        let inner = (1..=lengths).rev().map(|len| {
            let net = net(len + 20);
            if len % 2 == 0 {
                allow(&net)
            } else {
                deny(&net)
            }
        });
        inner.chain([deny("::/0")]).collect::<Vec<_>>()
    };
    let scene = Scene::new(rules(63));
    let to = |far: &str| scene.out(&syn(1, far, 443));
    assert_eq!(
        to("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        denied(1),
        "83 bits"
    );
    assert_eq!(to("2001:db8:ffff:ffff:ffff:d000::"), Ok(()), "82 bits");
    assert_eq!(to("2001:800::"), denied(63), "21 bits");
    assert_eq!(to("2001::"), denied(64), "none but the family's own");

    let scene = Scene::new(rules(64));
    assert_eq!(scene.out(&syn(1, FAR[1], 443)), CLOSED);
    assert_eq!(scene.out(&syn(1, FAR[0], 443)), CLOSED);
    let refused = Memo::default().table(&scene.world.egress_policies["a"]["default"]);
    let expected = Unfit::Lengths {
        family: 6,
        lengths: 64,
    };
    assert_eq!(refused, Err(expected));
}
