//! The objects of a large cluster, as a store would tell them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use weft_agent::store::{Delta, Object};
use weft_core::model::{Kind, ObjectRef};

/// Nodes, this one among them: the first.
pub const NODES: usize = 5_000;
/// Projects, each with an egress policy.
pub const PROJECTS: usize = 10_000;
/// Projects with a pod on this node, the first ones.
pub const PODS: usize = 100;

const API: &str = "network.openshift.io/v1";

/// This node's name.
pub fn node(n: usize) -> String {
    format!("node{n}")
}

/// A project's name.
pub fn project_name(n: usize) -> String {
    format!("project{n}")
}

/// A node's underlay address.
pub fn underlay(n: usize) -> Ipv4Addr {
    address(0xc0a8_0001, n)
}

/// Address of a pod of this node.
pub fn pod(n: usize) -> Ipv4Addr {
    address(0x0a00_0002, n)
}

fn address(base: u32, n: usize) -> Ipv4Addr {
    Ipv4Addr::from(base + u32::try_from(n).unwrap_or(u32::MAX - base))
}

/// All there is at the start.
pub fn all() -> Vec<Delta> {
    let network = json!({
        "apiVersion": API, "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.0.0.0/8", "hostSubnetLength": 9}],
        "serviceNetwork": "172.30.0.0/16",
        "pluginName": "redhat/openshift-ovs-multitenant",
    });
    let hosts = (0..NODES).map(host);
    let projects = (0..PROJECTS).map(|n| project(n, n));
    let policies = (0..PROJECTS).map(|n| policy(n, 0));
    std::iter::once(put(network))
        .chain(hosts)
        .chain(projects)
        .chain(policies)
        .collect()
}

/// A node's HostSubnet.
pub fn host(n: usize) -> Delta {
    put(json!({
        "apiVersion": API, "kind": "HostSubnet", "metadata": {"name": node(n)},
        "host": node(n), "hostIP": underlay(n).to_string(), "subnet": format!("{}/23", address(0x0a00_0000, n << 9)),
    }))
}

/// The end of it.
pub fn host_gone(n: usize) -> Delta {
    Delta::Gone(ObjectRef::cluster(Kind::HostSubnet, node(n)))
}

/// A project with a network of its own, the one of this number.
pub fn project(n: usize, number: usize) -> Delta {
    put(json!({
        "apiVersion": API, "kind": "NetNamespace", "metadata": {"name": project_name(n)},
        "netname": project_name(n), "netid": 10 + number,
    }))
}

/// A project's policy in one of many versions. Those of projects without pods here have a name, so that the node knows many
/// and resolves none.
pub fn policy(n: usize, version: usize) -> Delta {
    let number = u32::try_from(version).unwrap_or(u32::MAX) << 8;
    let mut rules: Vec<Value> = (0..8)
        .map(|rule| {
            let cidr = format!("{}/32", Ipv4Addr::from(0x0800_0000 + number + rule));
            json!({"type": "Allow", "to": {"cidrSelector": cidr}})
        })
        .collect();
    if n >= PODS {
        rules.push(json!({"type": "Allow", "to": {"dnsName": format!("www{n}.example.com")}}));
    }
    rules.push(json!({"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}));
    put(json!({
        "apiVersion": API, "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": project_name(n)}, "spec": {"egress": rules},
    }))
}

#[expect(
    clippy::expect_used,
    reason = "objects written in this file have a name and a kind"
)]
fn put(value: Value) -> Delta {
    Delta::Put(Arc::new(
        Object::from_value(value).expect("an object as written here"),
    ))
}
