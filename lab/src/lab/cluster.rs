//! The API objects a lab begins with.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::error::Error;
use super::objects::Objects;
use super::options::{Mode, Options};
use super::plan::UNDERLAY_MTU;
use super::state::State;

/// What VXLAN over IPv4 adds to a packet: outer IPv4, UDP, VXLAN and inner Ethernet header.
const OVERHEAD: u16 = 20 + 8 + 8 + 14;

/// Writes ClusterNetwork, Nodes and the project `default`; all else comes from the controller and from users.
pub(super) fn write(objects: &dyn Objects, state: &State, options: &Options) -> Result<(), Error> {
    // Kubelets write the Nodes of a whole cluster.
    let nodes = if state.is_cluster() {
        &[][..]
    } else {
        &state.nodes[..]
    };
    let nodes = nodes.iter().map(|node| {
        let addresses: Vec<Value> = node
            .addresses
            .iter()
            .map(|address| json!({"type": "InternalIP", "address": address}))
            .collect();
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
            "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]},
        })
    });
    // Where controllers agree on who is active: their Lease.
    let own = state.kubernetes.as_ref().filter(|_| !state.is_cluster());
    let own = own.map(|_| namespace("weft"));
    let all = [cluster_network(options), namespace("default")]
        .into_iter()
        .chain(own)
        .chain(nodes);
    all.into_iter()
        .try_for_each(|object| Ok(objects.create(object)?))
}

/// A project's Namespace object.
pub(super) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "status": {"phase": "Active"},
    })
}

fn cluster_network(options: &Options) -> Value {
    let (ranges, services) = options.networks();
    let cidrs: Vec<Value> = ranges
        .iter()
        .map(|range| json!({"CIDR": range.cidr, "hostSubnetLength": range.host_bits}))
        .collect();
    let mut object = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork",
        "metadata": {"name": "default"},
        "clusterNetworks": cidrs,
        "pluginName": plugin(options.mode),
        "vxlanPort": 4789,
        "mtu": UNDERLAY_MTU - OVERHEAD,
    });
    // The older fields repeat the first entry; on `default` they must.
    if let Some(first) = ranges.first() {
        object["network"] = json!(first.cidr);
        object["hostsubnetlength"] = json!(first.host_bits);
    }
    if let Some(first) = services.first() {
        object["serviceNetwork"] = json!(first);
    }
    if let [_, _, ..] = services[..] {
        object["serviceNetworks"] = json!(services);
    }
    object
}

fn plugin(mode: Mode) -> String {
    format!("redhat/openshift-ovs-{mode}")
}

/// Each node's pod subnets, from the HostSubnets the controller wrote.
pub(super) fn subnets(objects: &dyn Objects, node: &str) -> Result<Vec<IpNet>, Error> {
    let Some(object) = objects.get("HostSubnet", "", node)? else {
        return Ok(Vec::new());
    };
    let parse = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    Ok(match object.value["subnets"].as_array() {
        Some(many) => many.iter().filter_map(parse).collect(),
        None => parse(&object.value["subnet"]).into_iter().collect(),
    })
}
