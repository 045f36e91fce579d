//! Every drop reason: return code, counters of the node and of the endpoint, and the event.

use std::collections::BTreeSet;

mod case;
mod cases;

use weft_agent::observe;
use weft_core::compile::project_key;
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::reason::DropReason::{self, *};
use weft_ebpf::rows::ProjectKey;

use self::case::Case;
use self::cases::{A, cases};
use crate::frames::{Frame, TCP, UDP, frame};
use crate::rig::{Rig, interface, with_rig};

/// `TCX_DROP`
const DROP: i32 = 2;

/// Reasons that need a packet with overlay metadata, which a test run cannot give one (`bpf_skb_get_tunnel_key` reads the
/// packet's metadata destination, and `struct __sk_buff` has no field for it). They are shown on a real overlay device, in
/// the module `overlay`.
const NEED_AN_OVERLAY_DEVICE: [DropReason; 2] = [UnknownPeer, NotForThisNode];

fn number(program: &str) -> u32 {
    (hook::FROM_POD..=hook::TO_OVERLAY)
        .find(|hook| hook::name(*hook) == program)
        .unwrap()
}

/// The counters that the drop must raise: the node's for its reason and the endpoint's.
fn counted(rig: &Rig, reason: DropReason, ifindex: u32) -> [(u64, u64); 2] {
    let by_reason = observe::maps::drops_by_reason(&rig.maps).unwrap();
    let by_endpoint = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
    [
        by_reason.get(&reason).copied().unwrap_or_default(),
        by_endpoint
            .get(&(ifindex, reason))
            .copied()
            .unwrap_or_default(),
    ]
    .map(|row| (row.packets, row.bytes))
}

fn total(rig: &Rig) -> [u64; 2] {
    let by_reason = observe::maps::drops_by_reason(&rig.maps).unwrap();
    let by_endpoint = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
    [
        by_reason.values().map(|row| row.packets).sum(),
        by_endpoint.values().map(|row| row.packets).sum(),
    ]
}

fn check(rig: &mut Rig, case: Case) {
    let Case {
        why,
        reason,
        program,
        on,
        entered,
        bytes,
        seen,
        from,
        to,
        vnids,
        charged,
        rows,
        rule,
    } = case;
    let why = format!("{program}: {reason:?}: {why}");
    rig.write(&rows);
    let charged = charged.map_or(0, interface);
    let (before, all_before) = (counted(rig, reason, charged), total(rig));
    let start = rig.events();
    assert_eq!(start, vec![], "{why}: an event of an earlier packet");

    let entered = entered.map_or(0, interface);
    let (code, out) = rig.run_entered(program, entered, interface(on), &bytes);
    let len = bytes.len() as u64;
    assert_eq!(code, DROP, "{why}");
    if reason != HelperFailed {
        assert_eq!(out, bytes, "{why}: a dropped packet is left as it was");
    }
    let after = before.map(|(packets, bytes)| (packets + 1, bytes + len));
    assert_eq!(counted(rig, reason, charged), after, "{why}: counters");
    assert_eq!(
        total(rig),
        all_before.map(|n| n + 1),
        "{why}: one packet, one reason, one endpoint"
    );

    let events = rig.events();
    if reason == LinkLocal {
        assert_eq!(events, vec![], "{why}: counted, but no event");
    } else {
        let [event] = events[..] else {
            panic!("{why}: events {events:?}");
        };
        let key = |project: Option<&str>| project.map_or(ProjectKey(0), project_key);
        assert!(event.time > 0, "{why}: monotonic clock");
        let expected = DropEvent {
            time: event.time,
            src_project: key(from),
            dst_project: key(to),
            src: seen.src,
            dst: seen.dst,
            src_vnid: vnids.0,
            dst_vnid: vnids.1,
            reason: reason as u32,
            ifindex: interface(on),
            len: u32::try_from(bytes.len()).unwrap(),
            hook: number(program),
            src_port: seen.ports.0,
            dst_port: seen.ports.1,
            proto: seen.proto,
            reserved: [0; 7],
            rule,
        };
        assert_eq!(event, expected, "{why}");
    }
    if !rows.is_empty() {
        rig.restore();
    }
}

#[test]
fn every_reason_is_counted_and_told() {
    with_rig(|rig| {
        let mut shown: BTreeSet<DropReason> = BTreeSet::new();
        for case in cases() {
            shown.insert(case.reason);
            check(rig, case);
        }
        let all = DropReason::ALL.iter().copied();
        let missing: Vec<_> = all.filter(|reason| !shown.contains(reason)).collect();
        assert_eq!(
            missing, NEED_AN_OVERLAY_DEVICE,
            "reasons that no case shows"
        );
    });
}

/// The maps of a node that has no cluster network yet, or whose agent was killed before its first write: closed.
#[test]
fn empty_maps_let_nothing_through() {
    with_rig(|rig| {
        let actual = observe::maps::tables(&rig.maps).unwrap();
        rig.write(&weft_core::diff::diff(
            &weft_core::compile::Tables::default(),
            &actual,
        ));
        for (program, src, dst, reason) in [
            ("from_pod", A, "10.128.2.7", SpoofedAddress),
            ("to_pod", "10.128.2.1", A, NoSuchPod),
            ("from_overlay", "10.128.4.5", A, NoTunnelKey),
            ("to_overlay", "10.128.2.1", "10.128.4.5", ForeignSource),
        ] {
            for proto in [TCP, UDP] {
                let bytes = Frame {
                    proto,
                    ..frame(src, dst)
                }
                .bytes();
                assert_eq!(
                    rig.run(program, interface("a"), &bytes).0,
                    DROP,
                    "{program}"
                );
                let events = rig.events();
                assert_eq!(events.len(), 1, "{program}");
                assert_eq!(events[0].reason, reason as u32, "{program}");
            }
        }
    });
}
