//! The matrix: what a user of each kernel needs to work, works there.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use weft_tests::vm::Add;
use weft_wait::patience::patient;

use crate::machine::{run, spec};

/// Those of the tests that run the programs on crafted packets, with every drop reason. Each test loads the programs, some
/// seconds here, and the rest are about the agent's side rather than the kernel's.
const TESTS: &str = "drops:: verdicts:: overlay:: after_dnat::it_judges";
/// More than twice each kernel's time on the machine that this project is developed on, when it is idle.
const DEADLINE: Duration = Duration::from_mins(16);

#[test]
fn linux_6_1() {
    works_on("6.1");
}

#[test]
fn linux_6_12() {
    works_on("6.12");
}

fn works_on(kernel: &str) {
    let mut machine = spec(
        kernel,
        &format!("set -e; weft-lab smoke; ./programs {TESTS} --test-threads=1 2>&1"),
    );
    machine.deadline = patient(DEADLINE);
    machine.add.push(Add {
        file: test_programs().into(),
        name: "programs".into(),
    });
    let (result, said) = run(&machine);
    let outcome = result.unwrap_or_else(|error| panic!("{error}\n{said}"));
    assert_eq!(outcome.code, 0, "Linux {kernel}:\n{said}");
    println!(
        "{said}\nLinux {kernel}: up in {:?}, all of it in {:?}",
        outcome.boot, outcome.took
    );
    assert!(said.contains("down leaves nothing"), "{said}");
    assert!(said.contains("test result: ok"), "{said}");
}

/// The executable of the agent's tests of the programs, as cargo has built it for this very run: among several of its name
/// only cargo knows.
fn test_programs() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--release", "--no-run", "--message-format=json"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let of_the_agent = message["package_id"].as_str()?.contains("weft-agent");
        let named = message["target"]["name"] == "programs";
        (of_the_agent && named).then(|| Some(message["executable"].as_str()?.to_owned()))?
    });
    found.unwrap_or_else(|| panic!("cargo names no executable of the test \"programs\": {errors}"))
}
