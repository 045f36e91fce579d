//! A start over the pins of another ABI number: links move, everything else of it goes.

use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::{SchedClassifier, TcAttachType};
use weft_agent::apply::links::{attach, verify_overlay};
use weft_agent::apply::object::load;
use weft_agent::apply::pins::Pins;
use weft_agent::bpf::hooks::{Attachment, OVERLAY_HOOKS};
use weft_ebpf::ABI;

use crate::rig::{BpfFs, in_namespace, sh};

const DEVICE: &str = "weft0";

/// The kernel has files of its own at the top.
fn weft(folder: &BpfFs) -> PathBuf {
    folder.path().join("weft")
}

/// Names and numbers of the programs on a hook.
fn programs(hook: TcAttachType) -> Vec<(String, u32)> {
    let (_, found) = SchedClassifier::query_tcx(DEVICE, hook).unwrap();
    let name = |p: &aya::programs::ProgramInfo| p.name_as_str().unwrap().to_owned();
    found.iter().map(|p| (name(p), p.id())).collect()
}

fn attach_overlay(pins: &Pins, fresh: bool) {
    let mut object = load(pins).unwrap();
    let how = Attachment::Tcx;
    attach(&mut object.ebpf, pins, how, DEVICE, &OVERLAY_HOOKS, fresh).unwrap();
}

/// An installation of this very build, under another number.
fn installed_as(folder: &BpfFs, abi: u32) {
    let pins = Pins::open(&weft(folder)).unwrap();
    attach_overlay(&pins, true);
    let root = weft(folder);
    fs::rename(root.join(format!("v{ABI}")), root.join(format!("v{abi}"))).unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn links_of_another_abi_are_updated_in_place_and_moved() {
    for other in [ABI - 1, ABI + 1] {
        in_namespace(|| {
            let folder = BpfFs::new();
            sh(&format!(
                "ip link add {DEVICE} type veth peer name weft-other && ip link set {DEVICE} up"
            ));
            installed_as(&folder, other);
            let old = OVERLAY_HOOKS.map(|(_, hook)| programs(hook));

            let pins = Pins::open(&weft(&folder)).unwrap();
            let others = pins.others().unwrap();
            let numbers: Vec<u32> = others.iter().map(Pins::abi).collect();
            assert_eq!(numbers, [other]);
            assert_eq!(
                OVERLAY_HOOKS.map(|(_, hook)| programs(hook)),
                old,
                "still there"
            );
            assert!(
                verify_overlay(&pins, Attachment::Tcx).is_err(),
                "not ours yet"
            );
            attach_overlay(&pins, false);
            for ((name, hook), old) in OVERLAY_HOOKS.into_iter().zip(old) {
                let new = programs(hook);
                assert_eq!(new.len(), 1, "{name} from v{other}: one program, {new:?}");
                assert_eq!(new[0].0, name);
                assert_ne!(new[0].1, old[0].1, "{name}: the new one");
            }
            assert_eq!(others[0].links().unwrap(), [], "moved");
            assert_eq!(pins.links().unwrap().len(), 2, "moved");

            others[0].remove_folder().unwrap();
            assert_eq!(names(&weft(&folder)), [format!("v{ABI}")]);
            assert_eq!(
                verify_overlay(&pins, Attachment::Tcx),
                Ok(()),
                "it stays attached"
            );
            assert_eq!(pins.others().unwrap().len(), 0);
        });
    }
}

/// A link of a device that is gone cannot be taken over.
#[test]
fn a_dead_link_of_another_abi_is_no_obstacle() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let add = format!("ip link add {DEVICE} type veth peer name weft-other");
        sh(&add);
        installed_as(&folder, ABI - 1);
        sh(&format!("ip link del {DEVICE} && {add}"));
        let pins = Pins::open(&weft(&folder)).unwrap();
        attach_overlay(&pins, false);
        for (name, hook) in OVERLAY_HOOKS {
            assert_eq!(programs(hook).len(), 1, "{name}");
        }
        pins.others().unwrap()[0].remove_folder().unwrap();
        assert_eq!(verify_overlay(&pins, Attachment::Tcx), Ok(()));
    });
}

#[test]
fn only_what_weft_pins_is_removed() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let root = weft(&folder);
        sh(&format!(
            "ip link add {DEVICE} type veth peer name weft-other"
        ));
        installed_as(&folder, ABI - 1);
        let theirs = root.join(format!("v{}/links/their-program", ABI - 1));
        let map = aya::maps::Array::<_, u32>::create(1, 0).unwrap();
        map.pin(&theirs).unwrap();
        for other in ["vm", "v", "other"] {
            fs::create_dir(root.join(other)).unwrap();
        }
        let pins = Pins::open(&root).unwrap();
        let [old] = &pins.others().unwrap()[..] else {
            panic!("one folder is another version's");
        };
        let error = old.remove_folder().unwrap_err().to_string();
        assert!(
            error.contains(theirs.parent().unwrap().to_str().unwrap()),
            "{error}"
        );
        assert!(theirs.exists());
        assert_eq!(old.links().unwrap(), [], "ours are gone");
        fs::remove_file(&theirs).unwrap();
        old.remove_folder().unwrap();
        let mut left = vec![
            "other".to_owned(),
            "v".into(),
            "vm".into(),
            format!("v{ABI}"),
        ];
        left.sort();
        assert_eq!(names(&root), left);
    });
}
