//! `weft-lab smoke` on this machine's own kernel: what `weft-lab vm smoke` runs on others.

use std::process::Command;

/// What a user would miss if it was not tried.
const STEPS: [&str; 12] = [
    "preflight",
    "programs load",
    "a lab of two nodes",
    "pods are attached",
    "IPv4 and IPv6",
    "projects are apart",
    "joined projects",
    "isolated again",
    "by address",
    "by DNS name",
    "agent killed",
    "agent of another ABI",
];

#[test]
fn every_step_passes_on_this_machine() {
    let name = format!("smoke{:08x}", rand::random::<u32>());
    let output = Command::new(env!("CARGO_BIN_EXE_weft-lab"))
        .args(["smoke", "--lab", &name])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    println!("{said}");
    for step in STEPS {
        let passed = |line: &str| line.starts_with("ok ") && line.contains(step);
        assert!(said.lines().any(passed), "no step {step:?} in\n{said}");
    }
    assert!(said.contains("down leaves nothing"), "{said}");
}
