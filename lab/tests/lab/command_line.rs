//! `weft-lab` as a program: exit codes, what it prints, how it runs others.

use std::fs;
use std::process::{Command, Output};

use crate::stubs::Fixture;
use serde_json::Value;

pub fn weft_lab(fixture: &Fixture, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-lab"));
    command
        .args(["--lab", &fixture.name.to_string()])
        .args(arguments)
        .env("WEFT_BIN_DIR", &fixture.bin);
    command.output().unwrap()
}

/// Standard output of a command that has to succeed.
pub fn said(fixture: &Fixture, arguments: &[&str]) -> String {
    let output = weft_lab(fixture, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_lab_from_up_to_down() {
    let fixture = Fixture::new();
    said(
        &fixture,
        &["up", "--nodes", "1", "--external", "web=198.51.100.0/24"],
    );
    said(
        &fixture,
        &[
            "add-pod",
            "a/p",
            "--label",
            "app=x",
            "--annotation",
            "note=y=z",
        ],
    );
    let status: Value = serde_json::from_str(&said(&fixture, &["status", "-o", "json"])).unwrap();
    for key in [
        "lab",
        "mode",
        "manifests",
        "controllerPid",
        "nodes",
        "externals",
        "pods",
    ] {
        assert!(keys(&status).contains(&key), "{key}");
    }
    let node = [
        "name",
        "netns",
        "ip",
        "interface",
        "subnets",
        "agentPid",
        "config",
        "runDir",
        "stateDir",
        "bpfDir",
        "cniConfDir",
        "cniBinDir",
    ];
    for key in node {
        assert!(keys(&status["nodes"][0]).contains(&key), "nodes[].{key}");
    }
    assert_eq!(status["externals"][0]["ips"][0], "198.51.100.0/24");
    let pod = &status["pods"][0];
    assert_eq!(
        (
            &pod["namespace"],
            &pod["name"],
            &pod["node"],
            &pod["ips"][0]
        ),
        (
            &"a".into(),
            &"p".into(),
            &"node1".into(),
            &"10.128.0.2".into(),
        )
    );
    let manifest = fs::read_to_string(format!(
        "{}/pod-a_p.yaml",
        status["manifests"].as_str().unwrap()
    ))
    .unwrap();
    assert!(
        manifest.contains("note: y=z") && manifest.contains("app: x"),
        "{manifest}"
    );

    let table = said(&fixture, &["status"]);
    for part in [
        "node1",
        "192.168.50.11",
        "198.51.100.0/24",
        "a/p",
        "10.128.0.2",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert_eq!(
        weft_lab(&fixture, &["exec", "a/p", "--", "sh", "-c", "exit 7"])
            .status
            .code(),
        Some(7)
    );
    assert!(
        said(&fixture, &["node-exec", "web", "--", "ip", "address"]).contains("192.168.50.101")
    );
    said(&fixture, &["weft", "--", "status"]);
    said(&fixture, &["del-pod", "a/p"]);
    said(&fixture, &["agent", "node1", "kill"]);
    said(&fixture, &["agent", "node1", "start"]);
    said(&fixture, &["controller", "stop"]);
    said(&fixture, &["down"]);
    assert_eq!(fixture.traces(), [""; 0]);
}

#[test]
fn a_bare_cluster_refuses_what_belongs_to_weft_and_help_says_what_it_is_for() {
    let fixture = Fixture::new();
    let help = said(&fixture, &["up", "--help"]);
    assert!(
        help.contains("- bare:") && help.contains("NotReady"),
        "{help}"
    );
    for (arguments, why) in [
        (
            &["up", "--kubernetes=bare", "--crds", "/nowhere"][..],
            "--crds",
        ),
        (&["demo", "--kubernetes=bare"], "demo"),
    ] {
        let output = weft_lab(&fixture, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(why), "{text}");
    }
    assert_eq!(fixture.traces(), [""; 0]);
}

#[test]
fn objects_are_written_and_removed() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    let file = fixture.bin.join("objects.yaml");
    fs::write(
        &file,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    )
    .unwrap();
    assert_eq!(
        said(&fixture, &["apply", "-f", file.to_str().unwrap()]),
        "Namespace/shop\n"
    );
    assert!(
        lab.objects()
            .get("Namespace", "", "shop")
            .unwrap()
            .is_some()
    );
    said(&fixture, &["delete", "namespaces", "shop"]);
    assert!(
        lab.objects()
            .get("Namespace", "", "shop")
            .unwrap()
            .is_none()
    );
    fs::write(
        &file,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: [\n",
    )
    .unwrap();
    let output = weft_lab(&fixture, &["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        lab.objects().get("Namespace", "", "a").unwrap().is_none(),
        "nothing of a file that does not parse"
    );
}

#[test]
fn usage_errors_and_failures_have_their_own_exit_codes() {
    let fixture = Fixture::new();
    let code = |arguments: &[&str]| weft_lab(&fixture, arguments).status.code();
    for usage in [
        &["up", "--mode", "flat"][..],
        &["up", "--external", "web"],
        &["exec", "p", "--", "true"],
        &["agent", "node1"],
    ] {
        assert_eq!(code(usage), Some(2), "{usage:?}");
    }
    for failure in [
        &["status"][..],
        &["up", "--nodes", "0"],
        &["add-pod", "a/p"],
    ] {
        assert_eq!(code(failure), Some(1), "{failure:?}");
    }
    assert_eq!(
        code(&["down"]),
        Some(0),
        "what is not there needs no ending"
    );
    let error = String::from_utf8(weft_lab(&fixture, &["status"]).stderr).unwrap();
    assert_eq!(
        error,
        format!(
            "weft-lab: lab {0} is not up; `weft-lab up --lab {0}` makes it\n",
            fixture.name
        )
    );
    assert_eq!(fixture.traces(), [""; 0]);
    fixture.set("broken");
    assert_eq!(code(&["up"]), Some(1));
    fixture.unset("broken");
    assert_eq!(
        code(&["up"]),
        Some(0),
        "what a failed up left is in nobody's way"
    );
}
