//! HostSubnets for Nodes.

use serde_json::json;

use super::super::{host, network, node};
use super::Cluster;
use crate::controller::annotations::{ASSIGN_SUBNET, NODE_UID};

#[test]
fn every_node_gets_a_subnet() {
    let mut cluster = Cluster::new([node("n1", "192.0.2.1"), node("n2", "192.0.2.2")]);
    assert_eq!(cluster.settle(), "");
    let made = cluster.get("HostSubnet", "n1");
    assert_eq!(made["host"], "n1");
    assert_eq!(made["hostIP"], "192.0.2.1");
    assert_eq!(made["subnet"], "10.128.0.0/23");
    assert_eq!(made["metadata"]["annotations"][NODE_UID], "uid-n1");
    assert_eq!(cluster.get("HostSubnet", "n2")["subnet"], "10.129.0.0/23");

    cluster.put(node("n1", "192.0.2.9"));
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "n1")["hostIP"], "192.0.2.9");
    assert_eq!(cluster.get("HostSubnet", "n1")["subnet"], "10.128.0.0/23");

    cluster.remove("Node", "n1");
    cluster.settle();
    assert!(!cluster.has("HostSubnet", "n1"));
    cluster.put(node("n3", "192.0.2.3"));
    cluster.settle();
    assert_eq!(
        cluster.get("HostSubnet", "n3")["subnet"],
        "10.130.0.0/23",
        "next fit"
    );
}

#[test]
fn existing_subnets_are_adopted_and_respected() {
    let mut cluster = Cluster::new([
        node("a", "192.0.2.1"),
        node("b", "192.0.2.2"),
        host("b", "192.0.2.2", "10.128.0.0/23"),
        host("external", "192.0.2.3", "10.129.0.0/24"),
    ]);
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "a")["subnet"], "10.130.0.0/23");
    let adopted = cluster.get("HostSubnet", "b");
    assert_eq!(adopted["subnet"], "10.128.0.0/23");
    assert_eq!(adopted["metadata"]["annotations"][NODE_UID], "uid-b");
    assert!(cluster.get("HostSubnet", "external")["metadata"]["annotations"].is_null());
    cluster.remove("Node", "b");
    cluster.settle();
    assert!(!cluster.has("HostSubnet", "b"));
    assert!(
        cluster.has("HostSubnet", "external"),
        "nobody made it for a Node"
    );
}

#[test]
fn a_cluster_with_both_families_gives_both() {
    let mut cluster = Cluster::new([node("n1", "192.0.2.1")]);
    cluster.settle();
    cluster.put(network(
        "subnet",
        &json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}, {"CIDR": "fd01::/48", "hostSubnetLength": 64}]),
    ));
    cluster.put(node("n2", "192.0.2.2"));
    assert_eq!(cluster.settle(), "");
    let grown = cluster.get("HostSubnet", "n1");
    assert_eq!(grown["subnet"], "10.128.0.0/23", "what it has stays");
    assert_eq!(grown["subnets"], json!(["10.128.0.0/23", "fd01::/64"]));
    let fresh = cluster.get("HostSubnet", "n2");
    assert_eq!(
        fresh["subnets"],
        json!(["10.129.0.0/23", "fd01:0:0:1::/64"])
    );

    let mut six = Cluster::new([node("n1", "192.0.2.1")]);
    six.put(network(
        "subnet",
        &json!([{"CIDR": "fd01::/48", "hostSubnetLength": 64}]),
    ));
    six.settle();
    assert_eq!(six.get("HostSubnet", "n1")["subnet"], "fd01::/64");
}

#[test]
fn ranges_are_used_in_order_and_a_full_cluster_is_told() {
    let mut cluster = Cluster::new([]);
    let entry = |cidr: &str| json!({"CIDR": cidr, "hostSubnetLength": 8});
    cluster.put(network(
        "subnet",
        &json!([entry("10.5.0.0/24"), entry("10.6.0.0/24")]),
    ));
    for n in 1..=3 {
        cluster.put(node(&format!("n{n}"), &format!("192.0.2.{n}")));
    }
    let problems = cluster.settle();
    assert!(
        problems.contains("HostSubnet/n3: no IPv4 subnet is free"),
        "{problems}"
    );
    assert_eq!(cluster.get("HostSubnet", "n1")["subnet"], "10.5.0.0/24");
    assert_eq!(cluster.get("HostSubnet", "n2")["subnet"], "10.6.0.0/24");
    cluster.remove("Node", "n1");
    let problems = cluster.pass().1;
    assert!(
        problems.contains("n3"),
        "freed only once it is gone: {problems}"
    );
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "n3")["subnet"], "10.5.0.0/24");
}

#[test]
fn nodes_that_cannot_be_are_told() {
    let mut silent = node("silent", "192.0.2.8");
    silent.value["status"]["addresses"] = json!([{"type": "ExternalIP", "address": "192.0.2.8"}]);
    let mut cluster = Cluster::new([
        node("in-pods", "10.128.0.9"),
        node("in-services", "172.30.0.1"),
        node("loop", "127.0.0.1"),
        node("text", "x"),
        node("one", "192.0.2.1"),
        node("two", "192.0.2.1"),
        silent,
    ]);
    let problems = cluster.settle();
    for name in ["in-pods", "in-services", "loop", "text", "two", "silent"] {
        assert!(
            problems.contains(&format!("Node/{name}: ")),
            "{name}: {problems}"
        );
        assert!(!cluster.has("HostSubnet", name), "{name}");
    }
    assert!(cluster.has("HostSubnet", "one"));
}

#[test]
fn who_has_an_address_keeps_it_and_two_may_swap() {
    let mut cluster = Cluster::new([
        node("a", "192.0.2.1"),
        node("b", "192.0.2.1"),
        host("b", "192.0.2.1", "10.128.0.0/23"),
    ]);
    let problems = cluster.settle();
    assert!(problems.contains("Node/a"), "{problems}");
    cluster.put(node("a", "192.0.2.2"));
    assert_eq!(cluster.settle(), "");
    cluster.put(node("a", "192.0.2.1"));
    cluster.put(node("b", "192.0.2.2"));
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "a")["hostIP"], "192.0.2.1");
    assert_eq!(cluster.get("HostSubnet", "b")["hostIP"], "192.0.2.2");
}

#[test]
fn subnets_are_assigned_on_request() {
    let mut asked = host("f5", "192.0.2.7", "");
    asked.set_annotation(ASSIGN_SUBNET, Some(""));
    let mut cluster = Cluster::new([asked]);
    assert_eq!(cluster.settle(), "");
    let got = cluster.get("HostSubnet", "f5");
    assert_eq!(got["subnet"], "10.128.0.0/23");
    assert!(got["metadata"]["annotations"].is_null());
}

#[test]
fn a_bad_host_subnet_is_mended_as_far_as_the_node_tells() {
    let mut cluster = Cluster::new([
        node("a", "192.0.2.1"),
        host("a", "127.0.0.1", "10.128.0.0/23"),
        node("b", "192.0.2.2"),
        host("b", "192.0.2.2", ""),
        node("c", "192.0.2.3"),
        host("c", "192.0.2.3", "10.130.0.1/23"),
    ]);
    let problems = cluster.settle();
    assert_eq!(cluster.get("HostSubnet", "a")["hostIP"], "192.0.2.1");
    assert_eq!(cluster.get("HostSubnet", "b")["subnet"], "10.129.0.0/23");
    assert!(
        problems.contains("HostSubnet/c: subnet: 10.130.0.1/23 has host bits set"),
        "{problems}"
    );
}
