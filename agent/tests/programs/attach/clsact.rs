//! The clsact qdisc, which others use too.

use std::os::fd::AsFd as _;

use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact};
use aya::programs::{SchedClassifier, TcAttachType};
use weft_agent::apply::links::{attach, verify};
use weft_agent::bpf::hooks::{Attachment, POD_HOOKS};
use weft_agent::netlink::Netlink;
use weft_agent::netlink::announce::Announcements;
use weft_agent::netlink::filter::{Hook, put_bpf_filter};
use weft_agent::observe::foreign::Lookout;

use super::{DEVICE, attach_pod, make_device, programs};
use crate::rig::{index, sh, with_rig};
/// The whole qdisc gone, as `tc qdisc del` does it.
#[test]
fn clsact_is_put_back() {
    let how = Attachment::Clsact;
    with_rig(|rig| {
        make_device();
        attach_pod(rig, how, true);
        sh(&format!("tc qdisc del dev {DEVICE} clsact"));
        assert_eq!(verify(how, DEVICE, &POD_HOOKS), Err("to_pod"));
        attach_pod(rig, how, false);
        assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()));
    });
}

/// Another program's filters stay, and are not taken for ours.
#[test]
fn clsact_is_shared() {
    let how = Attachment::Clsact;
    with_rig(|rig| {
        make_device();
        let program: &mut SchedClassifier = rig
            .object
            .ebpf
            .program_mut("from_overlay")
            .unwrap()
            .try_into()
            .unwrap();
        qdisc_add_clsact(DEVICE).unwrap();
        let foreign = NlOptions {
            priority: 7,
            ..NlOptions::default()
        };
        let options = TcAttachOptions::Netlink(foreign);
        program
            .attach_with_options(DEVICE, TcAttachType::Ingress, options)
            .unwrap();
        assert_eq!(verify(how, DEVICE, &POD_HOOKS), Err("to_pod"));
        attach_pod(rig, how, true);
        assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()));
        let found = programs(how, TcAttachType::Ingress);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["from_pod", "from_overlay"], "ours is the first");
    });
}

const SIDES: [(Hook, &str); 2] = [(Hook::Egress, "to_pod"), (Hook::Ingress, "from_pod")];

/// Preference and handle of the filters on a hook, in their order.
fn places(side: Hook) -> Vec<(String, u16, u32)> {
    let filters = Netlink::open().unwrap().filters(index(DEVICE), side);
    let filters = filters.unwrap().into_iter();
    filters.map(|f| (f.kind, f.priority, f.handle)).collect()
}

/// What stands before ours, as it is told.
fn foreign() -> Vec<String> {
    let mut lookout = Lookout::open().unwrap();
    let xdp = lookout.xdp(Some(index(DEVICE))).unwrap();
    let device = (DEVICE, index(DEVICE));
    let found = lookout.before(device, Attachment::Clsact, &POD_HOOKS, &xdp);
    found.unwrap().iter().map(ToString::to_string).collect()
}

fn bpf(priority: u16, handle: u32) -> (String, u16, u32) {
    ("bpf".into(), priority, handle)
}

/// Filters at another preference are an older version's.
#[test]
fn a_filter_of_an_older_version_goes_once_the_new_one_is_there() {
    with_rig(|rig| {
        make_device();
        sh(&format!("tc qdisc add dev {DEVICE} clsact"));
        let mut netlink = Netlink::open().unwrap();
        for (side, name) in SIDES {
            let program: &mut SchedClassifier = rig
                .object
                .ebpf
                .program_mut(name)
                .unwrap()
                .try_into()
                .unwrap();
            let fd = program.fd().unwrap().try_clone().unwrap();
            let old = put_bpf_filter(index(DEVICE), side, 119, 1, name, fd.as_fd());
            netlink.send(old).unwrap();
        }
        assert_eq!(verify(Attachment::Clsact, DEVICE, &POD_HOOKS), Ok(()));
        // NETLINK_ROUTE, RTNLGRP_TC
        let announcements = Announcements::subscribe(0, &[4]).unwrap();
        attach_pod(rig, Attachment::Clsact, false);
        let mut changes = Vec::new();
        announcements.drain(|bytes| {
            let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
            let (kind, parent, info) = (number(4) & 0xffff, number(28), number(32));
            // RTM_NEWTFILTER, RTM_DELTFILTER
            if [44, 45].contains(&kind) {
                changes.push((parent & 0xffff, kind == 44, info >> 16));
            }
        });
        for (parent, (side, name)) in [0xfff3, 0xfff2].into_iter().zip(SIDES) {
            let of_hook = changes.iter().filter(|it| it.0 == parent);
            let of_hook: Vec<_> = of_hook.map(|it| (it.1, it.2)).collect();
            let expected = [(true, 1), (false, 119)];
            assert_eq!(of_hook, expected, "{name}: the new one, then the old");
            assert_eq!(places(side), [bpf(1, 1)], "{name}");
        }
    });
}

/// The kernel takes no other kind at a preference in use: ours stand behind, and say so.
#[test]
fn somebody_elses_filters_keep_nobody_from_attaching_and_stay() {
    with_rig(|rig| {
        make_device();
        sh(&format!(
            "tc qdisc add dev {DEVICE} clsact &&
             tc filter add dev {DEVICE} ingress pref 1 protocol all u32 match u32 0 0 classid 1:1 &&
             tc filter add dev {DEVICE} egress pref 1 handle 1 protocol all bpf bytecode '1,6 0 0 0,'"
        ));
        attach_pod(rig, Attachment::Clsact, true);
        assert_eq!(verify(Attachment::Clsact, DEVICE, &POD_HOOKS), Ok(()));
        assert_eq!(places(Hook::Ingress).last(), Some(&bpf(2, 1)));
        // The last of a preference is the first that runs.
        assert_eq!(places(Hook::Egress), [bpf(1, 2), bpf(1, 1)]);
        let told = foreign();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("filter u32 with preference 1,"),
            "{told:?}"
        );
        assert!(told[0].contains("before from_pod"), "{told:?}");

        sh(&format!("tc filter del dev {DEVICE} ingress pref 1"));
        assert_eq!(foreign(), [""; 0]);
        attach_pod(rig, Attachment::Clsact, false);
        assert_eq!(places(Hook::Ingress), [bpf(1, 1)]);

        sh(&format!(
            "tc filter add dev {DEVICE} ingress pref 1 protocol all bpf bytecode '1,6 0 0 0,'"
        ));
        let told = foreign();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("filter bpf with preference 1,"),
            "{told:?}"
        );
    });
}

#[test]
fn a_qdisc_in_the_place_of_clsact_is_named() {
    for (qdisc, word) in [
        ("ingress", "ingress"),
        ("egress_block 22 clsact", "block 22"),
    ] {
        with_rig(|rig| {
            make_device();
            sh(&format!("tc qdisc add dev {DEVICE} {qdisc}"));
            for fresh in [true, false] {
                let how = Attachment::Clsact;
                let ebpf = &mut rig.object.ebpf;
                let tried = attach(ebpf, &rig.pins, how, DEVICE, &POD_HOOKS, fresh);
                let error = tried.unwrap_err().to_string();
                assert!(
                    error.contains(word) && error.contains("tc qdisc del"),
                    "{error}"
                );
                // What the pod sends is judged.
                let from_pod = [("from_pod", TcAttachType::Ingress)];
                assert_eq!(verify(how, DEVICE, &from_pod), Ok(()), "{qdisc}");
                assert_eq!(verify(how, DEVICE, &POD_HOOKS), Err("to_pod"), "{qdisc}");
            }
        });
    }
}
