//! A command's exit code is the run's; a machine that ends otherwise is an error that says how.

use std::fs;
use std::time::Duration;

use weft_lab::vm::{Add, Error};

use crate::machine::{run, spec};

const KERNEL: &str = "6.12";

#[test]
fn the_exit_code_and_both_outputs_come_out_as_they_are() {
    let file = std::env::temp_dir().join(format!("weft-vm-{:08x}", rand::random::<u32>()));
    fs::write(&file, "brought along\n").unwrap();
    let mut machine = spec(
        KERNEL,
        // Autoload: nobody has asked for the modules of a VXLAN device before.
        "set -e; cat note; printf 'a\\tb\\r\\n'; echo \"quiet=$WEFT_PATIENCE\" >&2; uname -r
         ip link add vx0 type vxlan id 1 dstport 4789; ip link add ve0 type veth; tc qdisc add dev ve0 clsact
         test $(cat /proc/1/comm) = init; exit 37",
    );
    machine.add.push(Add {
        file: file.clone(),
        name: "note".into(),
    });
    let (result, said) = run(&machine);
    fs::remove_file(&file).unwrap();
    assert_eq!(result.unwrap().code, 37, "{said}");
    for part in ["brought along\n", "a\tb\r\n", "quiet=10\n", "6.12."] {
        assert!(said.contains(part), "{part:?} in {said:?}");
    }
}

#[test]
fn a_kernel_that_panics_is_an_error_with_its_last_words() {
    let (result, said) = run(&spec(KERNEL, "echo c > /proc/sysrq-trigger; sleep 1000"));
    match result {
        Err(Error::Panic { line, console }) => {
            assert!(line.contains("sysrq triggered crash"), "{line}");
            assert!(console.contains("Call Trace"), "{console}");
        }
        other => panic!("{other:?}: {said}"),
    }
}

#[test]
fn a_command_that_does_not_end_is_ended_at_its_deadline() {
    let mut machine = spec(KERNEL, "echo begun; sleep 1000");
    machine.deadline = weft_wait::patience::patient(Duration::from_secs(40));
    let (result, said) = run(&machine);
    match result {
        Err(error @ Error::Deadline { .. }) => {
            assert!(error.to_string().contains("the command did not end within"));
        }
        other => panic!("{other:?}: {said}"),
    }
    assert_eq!(said, "begun\n");
}

#[test]
fn a_machine_that_goes_away_before_its_command_ends_is_an_error() {
    let (result, said) = run(&spec(KERNEL, "busybox poweroff -f; sleep 1000"));
    match result {
        Err(error @ Error::Ended { .. }) => {
            assert!(
                error.to_string().contains("before its command did"),
                "{error}"
            );
        }
        other => panic!("{other:?}: {said}"),
    }
}

#[test]
fn systemd_is_process_1_if_asked_for() {
    let mut machine = spec(
        KERNEL,
        "cat /proc/1/comm; systemctl is-system-running --wait; systemctl --failed --no-legend; exit 3",
    );
    machine.init = weft_lab::vm::Init::Systemd;
    let (result, said) = run(&machine);
    assert_eq!(said, "systemd\nrunning\n");
    assert_eq!(result.unwrap().code, 3);
}
