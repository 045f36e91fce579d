//! Namespaces, commands in them, and the plans of the tests.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;

use weft_core::compile::host::{HostPlan, host_plan};
use weft_core::model::{ClusterNetwork, HostSubnet, LocalNode, Mode, NetworkEntry};
use weft_netns::NetNs;

/// A fresh namespace with its loopback up.
pub fn namespace() -> NetNs {
    let ns = NetNs::create().unwrap();
    sh(&ns, "ip link set lo up");
    ns
}

/// Runs a shell command in the namespace; panics with its output when it fails.
#[track_caller]
pub fn sh(ns: &NetNs, command: &str) -> String {
    let (ok, text) = try_sh(ns, command);
    assert!(ok, "{command}: {text}");
    text
}

/// Whether the command succeeded, and all its output.
pub fn try_sh(ns: &NetNs, command: &str) -> (bool, String) {
    let output = ns
        .run(|| Command::new("sh").args(["-c", command]).output())
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A veth pair: `name` in `a`, `peer` in `b`, both up.
pub fn veth(a: &NetNs, name: &str, b: &NetNs, peer: &str) {
    let fd = b.as_fd().as_raw_fd();
    let pid = std::process::id();
    sh(
        a,
        &format!(
            "ip link add {name} type veth peer name {peer} netns /proc/{pid}/fd/{fd} && ip link set {name} up"
        ),
    );
    sh(b, &format!("ip link set {peer} up"));
}

pub fn cluster(networks: &[&str]) -> ClusterNetwork {
    ClusterNetwork {
        mode: Mode::Multitenant,
        networks: networks
            .iter()
            .map(|n| NetworkEntry {
                cidr: n.parse().unwrap(),
                host_bits: 9,
            })
            .collect(),
        services: vec!["172.30.0.0/16".parse().unwrap()],
        vxlan_port: 4789,
        mtu: 1450,
    }
}

pub fn node() -> LocalNode {
    let ip: IpAddr = "192.168.50.11".parse().unwrap();
    LocalNode {
        name: "node1".into(),
        ip,
        addresses: vec![ip],
    }
}

/// The plan of a node with these pod networks and subnets, underlay on `eth0`.
pub fn plan(networks: &[&str], subnets: &[&str]) -> HostPlan {
    let host = HostSubnet {
        name: "node1".into(),
        ip: node().ip,
        subnets: subnets.iter().map(|s| s.parse().unwrap()).collect(),
    };
    host_plan(&cluster(networks), &host, &node(), "eth0")
}

/// IPv4 only.
pub fn ipv4() -> HostPlan {
    plan(&["10.128.0.0/14"], &["10.128.2.0/23"])
}

/// Both families.
pub fn dual() -> HostPlan {
    plan(
        &["10.128.0.0/14", "fd01::/48"],
        &["10.128.2.0/23", "fd01:0:0:2::/64"],
    )
}
