mod contradictions;
mod egress;
mod network;
mod objects;
mod table;
mod whole;

use serde_json::{Value, json};

use crate::store::Object;

/// An object of ours with these fields.
fn object(kind: &str, name: &str, mut fields: Value) -> Object {
    let map = std::mem::take(fields.as_object_mut().unwrap());
    Object::cluster("network.openshift.io/v1", kind, name, map)
}

fn network() -> Object {
    let fields = json!({
        "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}],
        "serviceNetwork": "172.30.0.0/16", "pluginName": "redhat/openshift-ovs-multitenant",
    });
    object("ClusterNetwork", "default", fields)
}

fn host(name: &str, ip: &str, subnet: &str) -> Object {
    object(
        "HostSubnet",
        name,
        json!({"host": name, "hostIP": ip, "subnet": subnet}),
    )
}

fn project(name: &str, netid: u32) -> Object {
    object(
        "NetNamespace",
        name,
        json!({"netname": name, "netid": netid}),
    )
}

/// `base` with some fields replaced, or taken out by null.
fn with(base: &Object, changes: &Value) -> Object {
    let mut object = base.clone();
    for (field, value) in changes.as_object().unwrap() {
        object.set_field(field, value.clone());
    }
    object
}
