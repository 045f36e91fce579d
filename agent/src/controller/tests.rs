mod allocators;
mod planning;
mod running;

use serde_json::{Value, json};

use crate::store::Object;

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn network(plugin: &str, entries: &Value) -> Object {
    object(json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": entries, "serviceNetwork": "172.30.0.0/16", "pluginName": plugin,
    }))
}

fn node(name: &str, ip: &str) -> Object {
    object(
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": format!("uid-{name}")},
                  "status": {"addresses": [{"type": "Hostname", "address": name},
                                           {"type": "InternalIP", "address": ip}]}}),
    )
}

fn namespace(name: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

fn host(name: &str, ip: &str, subnet: &str) -> Object {
    object(
        json!({"apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": name},
                  "host": name, "hostIP": ip, "subnet": subnet}),
    )
}

fn net(name: &str, netid: u32) -> Object {
    object(
        json!({"apiVersion": "network.openshift.io/v1", "kind": "NetNamespace", "metadata": {"name": name},
                  "netname": name, "netid": netid}),
    )
}
