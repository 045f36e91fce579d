use std::path::Path;

use weft_core::host::Device;
use weft_core::model::{ClusterNetwork, LocalNode, Mode, NetworkEntry};

use super::addresses::{Found, overlaps};
use super::*;
use crate::netlink::address::InterfaceAddress;

fn network() -> ClusterNetwork {
    ClusterNetwork {
        mode: Mode::Multitenant,
        networks: vec![NetworkEntry {
            cidr: "10.128.0.0/14".parse().unwrap(),
            host_bits: 9,
        }],
        services: vec!["172.30.0.0/16".parse().unwrap()],
        vxlan_port: 4789,
        mtu: 1450,
    }
}

fn found(addresses: &[(&str, &str)], routes: &[&str]) -> Found {
    let mut found = Found::default();
    for (index, (name, address)) in (1..).zip(addresses) {
        found.snapshot.devices.push(Device {
            name: (*name).into(),
            index,
            mac: Vec::new(),
            mtu: 1500,
            up: true,
            noarp: false,
            kind: String::new(),
            vxlan: None,
        });
        found.snapshot.addresses.push(InterfaceAddress {
            device: index,
            address: address.parse().unwrap(),
            global: true,
            preferred: true,
        });
    }
    let routes = routes.iter().map(|it| (it.parse().unwrap(), Some(1)));
    found.routes = routes.collect();
    found
}

#[test]
fn what_the_node_uses_of_the_clusters_ranges_is_named() {
    let check = |addresses: &[(&str, &str)], routes: &[&str]| {
        overlaps(&network(), &found(addresses, routes))
    };
    let eth0 = ("eth0", "192.168.50.11/24");
    assert_eq!(
        check(&[eth0], &["0.0.0.0/0", "192.168.50.0/24"]).state,
        State::Ok
    );
    // A wider route is beaten by ours.
    assert_eq!(check(&[eth0], &["10.0.0.0/8"]).state, State::Ok);
    let bridge = check(&[eth0, ("cni0", "10.128.4.1/24")], &[]);
    assert_eq!(bridge.state, State::Failed);
    assert!(
        bridge
            .message
            .contains("interface cni0 has 10.128.4.1/24 in the cluster network 10.128.0.0/14"),
        "{}",
        bridge.message
    );
    // The interface's range holds the cluster's: its neighbours could not be told from pods.
    assert_eq!(check(&[("eth0", "10.1.2.3/8")], &[]).state, State::Failed);
    let route = check(&[eth0], &["172.30.7.0/24"]);
    assert!(
        route.state == State::Failed
            && route
                .message
                .contains("172.30.7.0/24 over eth0 in the service network"),
        "{}",
        route.message
    );
    // kube-proxy with IPVS and NodeLocal DNSCache.
    let services = [
        ("kube-ipvs0", "172.30.0.1/32"),
        ("nodelocaldns", "172.30.0.10/32"),
    ];
    assert_eq!(check(&services, &[]).state, State::Ok);
    assert_eq!(check(&[("br0", "172.30.0.1/24")], &[]).state, State::Failed);
    assert_eq!(
        check(&[("lo", "10.128.4.1/32")], &[]).state,
        State::Failed,
        "it may be a pod's"
    );
    assert_eq!(
        check(&[("weft0", "10.128.0.1/23")], &[]).state,
        State::Ok,
        "our own"
    );
}

#[test]
fn another_plugin_is_named_and_whether_it_wins() {
    let dir = Path::new("/etc/cni/net.d");
    let judge = |names: &[&str]| others::judge(dir, names.iter().map(|it| (*it).into()).collect());
    assert_eq!(
        judge(&["10-weft.conflist", "README", "x.conf.bak"]).state,
        State::Ok
    );
    let before = judge(&["10-weft.conflist", "05-calico.conflist"]);
    assert_eq!(before.state, State::Warning);
    assert!(
        before.message.contains("takes 05-calico.conflist"),
        "{}",
        before.message
    );
    let after = judge(&["87-podman.conflist"]);
    assert!(
        after.state == State::Warning && after.message.contains("comes after"),
        "{}",
        after.message
    );
}

#[test]
fn the_mtu_is_compared_with_the_clusters() {
    let underlay = |mtu| Underlay {
        node: LocalNode {
            name: "node1".into(),
            ip: "192.168.50.11".parse().unwrap(),
            addresses: Vec::new(),
        },
        interface: "eth0".into(),
        mtu,
    };
    let fits = mtu(&underlay(1500), Some(&network()));
    assert!(
        fits.state == State::Ok && fits.message.contains("1450"),
        "{}",
        fits.message
    );
    let small = mtu(&underlay(1400), Some(&network()));
    assert!(
        small.state == State::Warning && small.message.contains("set mtu to 1350"),
        "{}",
        small.message
    );
    assert_eq!(
        mtu(&underlay(1300), None).state,
        State::Warning,
        "no room for IPv6"
    );
}

#[test]
fn the_worst_line_counts() {
    let line = |state| Check::new("x", state, "");
    assert_eq!(worst(&[]), State::Ok);
    assert_eq!(
        worst(&[line(State::Failed), line(State::Warning)]),
        State::Failed
    );
    assert_eq!(
        worst(&[line(State::Ok), line(State::Warning)]),
        State::Warning
    );
}

#[test]
fn programs_that_are_missing_or_refuse_are_failures_with_a_remedy() {
    let missing = iptables(&Iptables::in_folder("/nowhere"));
    for check in &missing {
        assert_eq!(check.state, State::Failed);
        assert!(
            check.message.contains("install the package iptables"),
            "{}",
            check.message
        );
    }
}

#[test]
fn mount_namespaces_are_told_where_they_differ_and_not_told_where_nothing_is_seen() {
    use crate::kubens::judge::{Process, Role, Seen};
    let process = |role, name: &str, namespace: &str| Process {
        role,
        name: name.into(),
        pid: 7,
        namespace: namespace.into(),
    };
    let mut seen = Seen {
        pin: "/run/kubens/mnt".into(),
        found: weft_netns::kubens::Found::Nothing,
        host: Some("mnt:[1]".into()),
        processes: vec![
            process(Role::Kubelet, "kubelet", "mnt:[1]"),
            process(Role::Runtime, "crio", "mnt:[1]"),
        ],
    };
    let check = mount_namespaces::tell(&seen).unwrap();
    assert_eq!(check.state, State::Ok);
    assert!(
        check.message.contains("kubelet (pid 7), crio (pid 7)"),
        "{check:?}"
    );
    seen.processes[1].namespace = "mnt:[2]".into();
    let check = mount_namespaces::tell(&seen).unwrap();
    assert_eq!(check.state, State::Warning);
    assert!(
        check.message.contains("crio (pid 7) is in mnt:[2]"),
        "{check:?}"
    );
    seen.processes.clear();
    assert_eq!(mount_namespaces::tell(&seen), None);
}
