//! The matrix: what a user of each kernel needs to work, works there.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weft_lab::vm::Add;
use weft_wait::patience::patient;

use crate::machine::{run, spec};

/// Those of the tests that run the programs on crafted packets: each program's deliveries, every drop reason, and what the verifier
/// has to look at. Each test loads
/// the programs, up to twenty seconds here, and the rest are about the agent's side rather than the kernel's.
const TESTS: [&str; 6] = [
    "drops::every_reason_is_counted_and_told",
    "verdicts::forwarded_packets",
    "overlay::admitted_packets_reach_their_pod",
    "overlay::packets_to_the_overlay_carry_the_senders_number",
    "after_dnat::it_judges_by_the_senders_policy_and_tells_the_rule",
    "verifier::no_program_takes_the_verifier_long",
];
/// Six times each kernel's time on an idle machine of two processors: the other tests run beside it.
const DEADLINE: Duration = Duration::from_mins(40);

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
        &format!(
            "set -e; weft-lab smoke; ./programs --exact {} --test-threads=1 2>&1",
            TESTS.join(" ")
        ),
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
    let passed = format!("test result: ok. {} passed", TESTS.len());
    assert!(said.contains(&passed), "{said}");
}

/// The executable of the agent's tests of the programs, as cargo has built it for this very run: among several of its name
/// only cargo knows.
fn test_programs() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--release", "--no-run", "--message-format=json"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        // It may be there for this test's own process; cargo would build everything anew with it.
        .env_remove("RUSTC_BOOTSTRAP")
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
