//! Rules of the node's firewall that ask the program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aya::programs::SocketFilter;
use weft_agent::apply::after_dnat::pin;
use weft_agent::apply::iptables::{Iptables, TrialError};
use weft_agent::apply::object::load;
use weft_agent::apply::pins::Pins;
use weft_core::compile::iptables::{Family, Ruleset, rulesets};

use crate::rig::{BpfFs, Rig, in_namespace, sh, with_rig};

/// The rules of the rig's node.
fn rules(rig: &Rig, program: &Path) -> Vec<Ruleset> {
    let network = rig.world.network.as_ref().unwrap();
    let mut sets = rulesets(network, &rig.world.node, &[]);
    for set in &mut sets {
        set.judge(program.to_str().unwrap());
    }
    sets
}

fn asking(program: &Path) -> usize {
    let all = sh("iptables-save && ip6tables-save");
    let rule = format!(
        "-A OPENSHIFT-FIREWALL-EGRESS -m bpf --object-pinned {} -j DROP",
        program.display()
    );
    all.lines().filter(|line| *line == rule).count()
}

/// What is tried leaves nothing; what is written reads back; and a program of another name takes the place of the first one, which
/// may go then.
#[test]
fn rules_that_ask_are_written_and_rewritten() {
    with_rig(|rig| {
        let iptables = Iptables::new();
        let first = pin(&mut rig.object.ebpf, &rig.pins).unwrap();
        for family in [Family::V4, Family::V6] {
            iptables.try_program(family, &first).unwrap();
            // As a killed trial leaves it.
            let program = family.program();
            sh(&format!("{program} -N OPENSHIFT-FIREWALL-TRIAL"));
            iptables.try_program(family, &first).unwrap();
        }
        assert!(!sh("iptables-save && ip6tables-save").contains("OPENSHIFT"));

        let sync = |program: &Path| iptables.sync(&rules(rig, program)).unwrap().writes;
        assert_eq!((sync(&first), sync(&first)), (8, 0));
        assert_eq!(asking(&first), 2);
        let second = first.with_file_name("after_dnat-of-another-version");
        let mut again = SocketFilter::from_pin(&first).unwrap();
        again.pin(&second).unwrap();
        assert_eq!((sync(&second), sync(&second)), (2, 0), "one table a family");
        assert_eq!((asking(&first), asking(&second)), (0, 2));
        fs::remove_file(&first).unwrap();
        assert_eq!(sync(&second), 0);
    });
}

/// It is said, with the remedy, and nothing is left behind.
#[test]
fn what_keeps_rules_from_asking() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let pins = Pins::open(folder.path()).unwrap();
        let program = pin(&mut load(&pins).unwrap().ebpf, &pins).unwrap();
        let programs = folder.path().with_extension("programs");
        fs::create_dir(&programs).unwrap();
        let script = |name: &str, text: &str| {
            let path = programs.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let tried = |iptables: &Iptables, program: &Path| {
            let error = iptables.try_program(Family::V4, program);
            (
                error.as_ref().map_err(ToString::to_string).unwrap_err(),
                error,
            )
        };

        // A kernel without the module, as iptables 1.8.9 says it.
        script("iptables", "echo 'iptables v1.8.9 (nf_tables)'");
        script(
            "iptables-restore",
            "echo 'Warning: Extension bpf revision 0 not supported, missing kernel module?' >&2; exit 4",
        );
        let fake = Iptables::in_folder(&programs);
        let (said, error) = tried(&fake, &program);
        assert!(matches!(error, Err(TrialError::Refused { .. })), "{said}");
        for part in ["missing kernel module?", "modprobe xt_bpf"] {
            assert!(said.contains(part), "{said}");
        }
        // The older variant: whoever writes any rule must find the pin.
        script("iptables", "echo 'iptables v1.8.9 (legacy)'");
        let (said, _) = tried(&fake, &program);
        for part in ["iptables v1.8.9 (legacy)", "kube-proxy", "iptables-nft"] {
            assert!(said.contains(part), "{said}");
        }
        fs::remove_dir_all(&programs).unwrap();

        let real = Iptables::new();
        let (said, error) = tried(&real, Path::new("/sys/fs/bpf/my weft/program"));
        assert!(matches!(error, Err(TrialError::Path { .. })), "{said}");
        let (said, error) = tried(&real, &program.with_file_name("none"));
        assert!(matches!(error, Err(TrialError::Refused { .. })), "{said}");
        assert!(!sh("iptables-save").contains("OPENSHIFT"));
    });
}
