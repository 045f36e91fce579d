use weft_core::model::{Change, Destination, EgressPolicy, EgressRule};
use weft_ebpf::rows::VNID_CLOSED;

use super::super::fixture::{project, world};
use super::*;

fn rule(action: Action, net: &str) -> EgressRule {
    EgressRule {
        action,
        to: Destination::Cidr(net.parse().unwrap()),
        ports: Vec::new(),
    }
}

fn described(world: &World, reason: DropReason, rule: u32) -> Drop {
    let event = DropEvent {
        time: 0,
        src_project: project_key("shop"),
        dst_project: ProjectKey(0),
        src: Addr::UNSPECIFIED,
        dst: Addr::UNSPECIFIED,
        src_vnid: 10,
        dst_vnid: VNID_CLOSED,
        reason: reason as u32,
        ifindex: 7,
        len: 60,
        hook: hook::FROM_POD,
        rule,
        src_port: 0,
        dst_port: 0,
        proto: 6,
        reserved: [0; 7],
    };
    Names::default().describe(&event, world)
}

fn named(drop: &Drop) -> (Option<&str>, Option<u32>, Option<&str>) {
    (drop.policy.as_deref(), drop.rule, drop.rule_text.as_deref())
}

#[test]
fn a_denied_packet_names_policy_and_rule() {
    let mut world = world();
    let rules = vec![
        rule(Action::Allow, "192.0.2.0/24"),
        rule(Action::Deny, "0.0.0.0/0"),
    ];
    let policy = EgressPolicy::new("shop", rules);
    world.take(Change::EgressPolicy(
        "shop".into(),
        "first".into(),
        Some(policy),
    ));
    let drop = described(&world, DropReason::EgressDenied, 2);
    assert_eq!(
        named(&drop),
        (Some("shop/first"), Some(2), Some("Deny 0.0.0.0/0"))
    );
    // The policy has changed between the packet and its event: an Allow rule denied nothing, and there is no third one.
    for changed in [1, 3] {
        let drop = described(&world, DropReason::EgressDenied, changed);
        assert_eq!(named(&drop), (None, Some(changed), None));
    }
    let drop = described(&world, DropReason::Isolated, 0);
    assert_eq!(named(&drop), (None, None, None));
}

#[test]
fn a_closed_projects_packet_names_the_reason() {
    let mut world = world();
    let policy = EgressPolicy::new("bank", vec![rule(Action::Allow, "192.0.2.0/24")]);
    world.take(Change::EgressPolicy(
        "bank".into(),
        "first".into(),
        Some(policy),
    ));
    project(&mut world, "bank", 10);
    let drop = described(&world, DropReason::EgressClosed, 0);
    assert!(
        drop.text.contains("joined with that of bank"),
        "{}",
        drop.text
    );
    assert_eq!(named(&drop), (None, None, None));
}

#[test]
fn a_flood_hides_nobody_elses_drops() {
    let world = world();
    let feed = Feed::new();
    let of = |ifindex, reason| Drop {
        ifindex,
        ..described(&world, reason, 0)
    };
    feed.publish(of(1, DropReason::Isolated));
    feed.publish(of(2, DropReason::NoSuchPod));
    for _ in 0..3 * RECENT {
        feed.publish(of(2, DropReason::Isolated));
    }
    let recent = feed.recent();
    assert_eq!(recent.len(), RECENT);
    let kinds = recent
        .iter()
        .map(|event| (event.ifindex, event.reason.as_str()));
    let kinds: Vec<_> = kinds.take(3).collect();
    assert_eq!(kinds, [(1, "Isolated"), (2, "NoSuchPod"), (2, "Isolated")]);
}
