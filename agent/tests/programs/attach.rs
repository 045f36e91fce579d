//! Programs on interfaces, by TCX and by the clsact fallback.

mod clsact;

use std::net::UdpSocket;

use aya::programs::{SchedClassifier, TcAttachType};
use weft_agent::apply::links::{attach, detach, verify};
use weft_agent::apply::object::load;
use weft_agent::bpf::hooks::{Attachment, POD_HOOKS};
use weft_agent::netlink::Netlink;
use weft_agent::netlink::filter::Hook;
use weft_agent::netlink::hooks::Filter;
use weft_agent::observe;
use weft_ebpf::reason::DropReason;
use weft_wait::eventually;

use crate::rig::{Rig, index, sh, with_rig};

const BOTH: [Attachment; 2] = [Attachment::Tcx, Attachment::Clsact];
const DEVICE: &str = "weft-t";

fn make_device() {
    sh(&format!("ip link add {DEVICE} type veth peer name t0"));
    sh(&format!("ip link set {DEVICE} up && ip link set t0 up"));
}

fn attach_pod(rig: &mut Rig, how: Attachment, fresh: bool) {
    attach(
        &mut rig.object.ebpf,
        &rig.pins,
        how,
        DEVICE,
        &POD_HOOKS,
        fresh,
    )
    .unwrap();
}

/// Name and number of the programs on a hook, as the kernel tells.
fn programs(how: Attachment, hook: TcAttachType) -> Vec<(String, u32)> {
    match how {
        Attachment::Tcx => {
            let (_, programs) = SchedClassifier::query_tcx(DEVICE, hook).unwrap();
            let name = |p: &aya::programs::ProgramInfo| p.name_as_str().unwrap().to_owned();
            programs.iter().map(|p| (name(p), p.id())).collect()
        }
        Attachment::Clsact => {
            let side = match hook {
                TcAttachType::Egress => Hook::Egress,
                _ => Hook::Ingress,
            };
            let filters = Netlink::open()
                .unwrap()
                .filters(index(DEVICE), side)
                .unwrap();
            let program = |f: Filter| (f.name.unwrap(), f.program.unwrap());
            filters.into_iter().map(program).collect()
        }
    }
}

fn dropped(rig: &Rig, reason: DropReason) -> u64 {
    let drops = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
    drops
        .get(&(index(DEVICE), reason))
        .map_or(0, |row| row.packets)
}

#[test]
fn the_probe_finds_what_this_kernel_has() {
    with_rig(|_| {
        make_device();
        let tcx = SchedClassifier::query_tcx(DEVICE, TcAttachType::Ingress).is_ok();
        assert_eq!(Attachment::probe() == Attachment::Tcx, tcx);
    });
}

#[test]
fn attached_programs_see_the_packets_of_both_directions() {
    for how in BOTH {
        with_rig(|rig| {
            make_device();
            attach_pod(rig, how, true);
            assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()), "{how:?}");
            // A stranger behind the device, and one to whom the host sends through it.
            sh(
                "ip addr add 10.9.0.1/24 dev t0 && ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev t0",
            );
            sh(&format!(
                "ip addr add 10.8.0.1/24 dev {DEVICE} && ip neigh add 10.8.0.2 lladdr 02:00:00:00:00:02 dev {DEVICE}"
            ));
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for (to, reason) in [
                ("10.9.0.2:9", DropReason::SpoofedAddress), // from_pod
                ("10.8.0.2:9", DropReason::NoSuchPod),      // to_pod
            ] {
                // A drop on the way out is an error of the call.
                let _sent = socket.send_to(b"weft", to);
                eventually(&format!("{how:?}: {reason:?}"), || {
                    dropped(rig, reason) == 1
                });
            }
        });
    }
}

#[test]
fn a_restart_replaces_the_programs_in_place_and_they_outlive_it() {
    for how in BOTH {
        with_rig(|rig| {
            make_device();
            attach_pod(rig, how, true);
            let hooks = POD_HOOKS.map(|(name, hook)| (name, hook, programs(how, hook)));
            for (name, _, found) in &hooks {
                assert_eq!(found.len(), 1, "{how:?} {name}");
                assert_eq!(found[0].0, *name, "{how:?}");
            }

            rig.object = load(&rig.pins).unwrap();
            for (name, hook, old) in &hooks {
                assert_eq!(
                    programs(how, *hook),
                    *old,
                    "{how:?} {name}: there while nobody holds it"
                );
            }
            attach_pod(rig, how, false);
            for (name, hook, old) in &hooks {
                let new = programs(how, *hook);
                assert_eq!(new.len(), 1, "{how:?} {name}: replaced, not added");
                assert_eq!(new[0].0, *name, "{how:?}");
                assert_ne!(new[0].1, old[0].1, "{how:?} {name}: the new program");
            }
            assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()), "{how:?}");
        });
    }
}

#[test]
fn verify_tells_what_is_missing() {
    for how in BOTH {
        with_rig(|rig| {
            assert_eq!(
                verify(how, DEVICE, &POD_HOOKS),
                Err("to_pod"),
                "{how:?}: no device"
            );
            make_device();
            assert_eq!(
                verify(how, DEVICE, &POD_HOOKS),
                Err("to_pod"),
                "{how:?}: nothing attached"
            );
            attach_pod(rig, how, true);
            assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()), "{how:?}");

            // Somebody removes one of them.
            match how {
                Attachment::Tcx => std::fs::remove_file(rig.pins.link(DEVICE, "from_pod")).unwrap(),
                Attachment::Clsact => drop(sh(&format!("tc filter del dev {DEVICE} ingress"))),
            }
            eventually(&format!("{how:?}: from_pod is gone"), || {
                verify(how, DEVICE, &POD_HOOKS) == Err("from_pod")
            });
            // And puts another in its place.
            let other = [("from_overlay", TcAttachType::Ingress)];
            attach(&mut rig.object.ebpf, &rig.pins, how, DEVICE, &other, true).unwrap();
            assert_eq!(
                verify(how, DEVICE, &POD_HOOKS),
                Err("from_pod"),
                "{how:?}: another program"
            );
            if how == Attachment::Tcx {
                detach(&rig.pins, DEVICE, &other).unwrap();
            }

            attach_pod(rig, how, false);
            assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()), "{how:?}: mended");
            sh(&format!("ip link del {DEVICE}"));
            assert_eq!(
                verify(how, DEVICE, &POD_HOOKS),
                Err("to_pod"),
                "{how:?}: the device went"
            );
        });
    }
}

/// A pod's interface made anew under an old name: its pins are of the interface that is gone.
#[test]
fn a_fresh_interface_gets_links_of_its_own() {
    for how in BOTH {
        with_rig(|rig| {
            make_device();
            attach_pod(rig, how, true);
            sh(&format!("ip link del {DEVICE}"));
            make_device();
            assert_eq!(verify(how, DEVICE, &POD_HOOKS), Err("to_pod"), "{how:?}");
            attach_pod(rig, how, true);
            assert_eq!(verify(how, DEVICE, &POD_HOOKS), Ok(()), "{how:?}");
        });
    }
}

/// The same after a restart, which cannot know: the stale link refuses its update and a new one takes its place.
#[test]
fn a_stale_pin_is_no_obstacle() {
    with_rig(|rig| {
        make_device();
        attach_pod(rig, Attachment::Tcx, true);
        sh(&format!("ip link del {DEVICE}"));
        make_device();
        rig.object = load(&rig.pins).unwrap();
        attach_pod(rig, Attachment::Tcx, false);
        assert_eq!(verify(Attachment::Tcx, DEVICE, &POD_HOOKS), Ok(()));
    });
}
