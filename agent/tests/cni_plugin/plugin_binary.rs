//! The plugin as a process of its own.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::node::{Node, Pod};

fn spawn(env: &[(&str, &str)], conf: &Value) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weft-cni"))
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(conf.to_string().as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// The path names the pod's namespace for the plugin's process only: for the agent it is the agent's own.
#[test]
fn the_agent_need_not_see_the_path() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    let mut env = pod.env("ADD");
    env[3].1 = "/proc/self/ns/net";
    let output = pod.netns.run(|| spawn(&env, &node.conf("1.1.0"))).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["interfaces"][1]["sandbox"], "/proc/self/ns/net");
    assert!(
        pod.exec("ip -o addr show dev eth0")
            .contains("10.128.4.2/32")
    );
}

#[test]
fn exit_codes_and_streams_are_the_specifications() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    let output = spawn(&pod.env("DEL"), &node.conf("1.1.0"));
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    let output = spawn(&[("CNI_COMMAND", "ADD")], &node.conf("0.4.0"));
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&error["cniVersion"], &error["code"]),
        (&"0.4.0".into(), &4.into())
    );
    assert!(error["msg"].as_str().unwrap().contains("CNI_CONTAINERID"));
}
