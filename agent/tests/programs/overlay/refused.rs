//! What `from_overlay` refuses: reason, counters and event.

use std::time::{Duration, Instant};

use weft_agent::observe;
use weft_core::compile::project_key;
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::reason::DropReason::{self, *};
use weft_ebpf::rows::{ProjectKey, VNID_CLOSED};

use super::lab::{POD, REMOTE, STRANGER, lab, send};
use crate::frames::{Frame, frame};
use crate::rig::{PEER, Rig, index, interface, vnid, with_rig};

/// The next event of the overlay's programs; the kernel's own packets of the pod's interface have others.
#[track_caller]
fn event(rig: &mut Rig, why: &str) -> DropEvent {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut events = rig.events().into_iter();
        if let Some(event) = events.find(|event| event.hook == hook::FROM_OVERLAY) {
            return event;
        }
        assert!(Instant::now() < deadline, "{why}: no event in ten seconds");
        std::thread::yield_now();
    }
}

#[test]
fn refused_packets_of_the_overlay() {
    /// Why, the reason, the outer source, the VNI, the inner frame, the receiver's project if it is known.
    type Case = (
        &'static str,
        DropReason,
        &'static str,
        u32,
        Frame,
        Option<&'static str>,
    );
    let pod6 = "fd01:0:0:2::5";
    let cases: Vec<Case> = vec![
        (
            "two projects",
            Isolated,
            PEER,
            11,
            frame(REMOTE, POD).udp(9),
            Some("a"),
        ),
        (
            "two projects, IPv6",
            Isolated,
            PEER,
            11,
            frame("fd01:0:0:4::5", pod6),
            Some("a"),
        ),
        (
            "a closed receiver",
            TargetProjectClosed,
            PEER,
            0,
            frame(REMOTE, "10.128.2.9"),
            Some("x"),
        ),
        (
            "no node has this address",
            UnknownPeer,
            STRANGER,
            10,
            frame(REMOTE, POD),
            None,
        ),
        (
            "of this node",
            ForeignSource,
            PEER,
            10,
            frame("10.128.2.7", POD),
            None,
        ),
        (
            "of this node's gateway",
            ForeignSource,
            PEER,
            10,
            frame("10.128.2.1", POD),
            None,
        ),
        (
            "of no node",
            ForeignSource,
            PEER,
            10,
            frame("10.128.100.1", POD),
            None,
        ),
        (
            "of no pod",
            ForeignSource,
            PEER,
            10,
            frame("198.51.100.9", POD),
            None,
        ),
        (
            "of no pod, IPv6",
            ForeignSource,
            PEER,
            10,
            frame("2001:db8::9", pod6),
            None,
        ),
        (
            "of a service",
            ForeignSource,
            PEER,
            10,
            frame("172.30.0.10", POD),
            None,
        ),
        (
            "nobody here",
            NoSuchPod,
            PEER,
            10,
            frame(REMOTE, "10.128.3.200"),
            None,
        ),
        (
            "the sender's own",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "10.128.4.6"),
            None,
        ),
        (
            "of no node",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "10.128.100.1"),
            None,
        ),
        (
            "outside",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "198.51.100.9"),
            None,
        ),
        (
            "a service",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "172.30.0.10"),
            None,
        ),
        (
            "multicast",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "224.0.0.5"),
            None,
        ),
    ];
    with_rig(|rig| {
        let lab = lab(rig);
        for (why, reason, from, vni, frame, to) in cases {
            let why = format!("{reason:?}: {why}");
            let before = observe::maps::drops_by_reason(&rig.maps).unwrap();
            send(&lab.underlay(from, 0), vni, &frame);
            let event = event(rig, &why);
            let len = frame.bytes().len();
            let expected = DropEvent {
                time: event.time,
                src_project: ProjectKey(0),
                dst_project: to.map_or(ProjectKey(0), project_key),
                src: frame.src.into(),
                dst: frame.dst.into(),
                src_vnid: if to.is_some() { vni } else { VNID_CLOSED },
                dst_vnid: to.map_or(VNID_CLOSED, vnid),
                reason: reason as u32,
                ifindex: index("weft0"),
                len: u32::try_from(len).unwrap(),
                hook: hook::FROM_OVERLAY,
                src_port: frame.src_port,
                dst_port: frame.dst_port,
                proto: frame.proto,
                reserved: [0; 7],
                rule: 0,
            };
            assert_eq!(event, expected, "{why}");

            let packets = |drops: &std::collections::BTreeMap<DropReason, _>| {
                drops
                    .get(&reason)
                    .map_or(0, |row: &weft_ebpf::rows::DropRow| row.packets)
            };
            let after = observe::maps::drops_by_reason(&rig.maps).unwrap();
            assert_eq!(packets(&after), packets(&before) + 1, "{why}");
        }
        // The receiver is charged, whoever refused it.
        let charged = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
        let row = charged[&(interface("a"), Isolated)];
        assert_eq!(row.packets, 2, "both families");
    });
}
