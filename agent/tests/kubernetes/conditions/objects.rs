//! HostSubnets, NetNamespaces and Nodes: what is wrong with them, and what was repaired.

use serde_json::json;

use super::Scene;
use crate::rig::until;

#[test]
fn the_cluster_network_says_what_is_wrong() {
    let scene = Scene::new("");
    let network = |name: &str, cidr: &str| {
        let network = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": name},
            "clusterNetworks": [{"CIDR": cidr, "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
            "pluginName": "redhat/openshift-ovs-multitenant",
        });
        scene.server.apply(&network.to_string());
    };
    let host = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": "n"},
        "host": "n", "hostIP": "192.0.2.10", "subnet": "10.128.0.0/23",
    });
    scene.server.apply(&host.to_string());
    // The same writer takes the objects in the order of their versions: the host counts before the network would strand it.
    network("default", "10.132.0.0/14");
    let conflict = scene.until(&["clusternetwork", "default"], "False Conflict");
    let message = conflict["message"].as_str().unwrap();
    assert!(
        message.contains("HostSubnet/n would be cut off")
            && message.contains("the last good one stays"),
        "{conflict}"
    );
    let shown = scene.server.kubectl(&["get", "clusternetworks"]);
    assert!(shown.contains("Conflict"), "{shown}");
    network("default", "10.128.0.0/14");
    scene.until(&["clusternetwork", "default"], "True Accepted");
    assert_eq!(
        scene.events("ClusterNetwork", "default"),
        ["Warning Conflict", "Normal Accepted"]
    );
    network("second", "10.200.0.0/16");
    scene.until(&["clusternetwork", "second"], "False Invalid");
    assert_eq!(
        scene.events("ClusterNetwork", "second"),
        ["Warning Invalid"]
    );
}

#[test]
fn nodes_and_projects_say_what_is_wrong() {
    let scene = Scene::new("");
    let host = |name: &str, subnet: &str| {
        let last = name.len() + 10;
        let host = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": name},
            "host": name, "hostIP": format!("192.0.2.{last}"), "subnet": subnet,
        });
        scene.server.apply(&host.to_string());
    };
    host("n", "10.128.0.0/23");
    host("nn", "10.128.0.0/24");
    let conflict = scene.until(&["hostsubnet", "nn"], "False Conflict");
    assert!(
        conflict["message"]
            .as_str()
            .unwrap()
            .contains("10.128.0.0/23 of HostSubnet/n"),
        "{conflict}"
    );
    host("nnn", "192.168.0.0/24");
    scene.until(&["hostsubnet", "nnn"], "False Invalid");
    let shown = scene.server.kubectl(&["get", "hostsubnets"]);
    assert!(
        shown.contains("Conflict") && shown.contains("Invalid"),
        "{shown}"
    );
    host("nn", "10.128.2.0/24");
    scene.until(&["hostsubnet", "nn"], "True Accepted");
    assert_eq!(
        scene.events("HostSubnet", "nn"),
        ["Warning Conflict", "Normal Accepted"]
    );
    // Those that nothing was ever wrong with are left alone: there may be thousands of them.
    assert!(scene.get(&["hostsubnet", "n"]).unwrap()["status"].is_null());

    // What the controller repairs, and what it refuses.
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "real"}});
    scene.server.apply(&node.to_string());
    until("a node without an address is told of", || {
        (scene.events("Node", "real") == ["Warning NotInPodNetwork"]).then_some(())
    });
    let address =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.50"}]}});
    scene.server.kubectl(&[
        "patch",
        "node",
        "real",
        "--subresource=status",
        "--type=merge",
        "-p",
        &address.to_string(),
    ]);
    until("its subnet", || scene.get(&["hostsubnet", "real"]));
    scene.server.kubectl(&[
        "patch",
        "hostsubnet",
        "real",
        "--type=merge",
        "-p",
        r#"{"hostIP": "192.0.2.51"}"#,
    ]);
    until("the repair is told of", || {
        (scene.events("HostSubnet", "real") == ["Warning Repaired"]).then_some(())
    });
    assert_eq!(
        scene.get(&["hostsubnet", "real"]).unwrap()["hostIP"],
        "192.0.2.50"
    );
    let ask = "pod.network.openshift.io/multitenant.change-network=join:nowhere";
    scene
        .server
        .kubectl(&["annotate", "netnamespace", "a", ask]);
    until("the refusal is told of", || {
        (scene.events("NetNamespace", "a") == ["Warning ChangeNetworkRefused"]).then_some(())
    });
}
