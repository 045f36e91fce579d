//! The nodes on which a policy may not be in force yet.

use serde_json::{Value, json};

use super::{OF_A, Scene};
use crate::rig::Server;

/// A node and the pod of its agent, which is ready or not.
fn agent(server: &Server, node: &str, ready: bool) {
    let pod = format!("weft-agent-{node}");
    let objects = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": "weft",
                "labels": {"app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent"},
            },
            "spec": {
                "nodeName": node, "containers": [{"name": "agent", "image": "weft"}],
                "automountServiceAccountToken": false,
            },
        }),
    ];
    for object in objects {
        server.apply(&object.to_string());
    }
    let status = if ready { "True" } else { "False" };
    let patch =
        json!({"status": {"conditions": [{"type": "Ready", "status": status}]}}).to_string();
    server.kubectl(&[
        "patch",
        "pod",
        &pod,
        "-n",
        "weft",
        "--subresource=status",
        "-p",
        &patch,
    ]);
}

#[test]
fn a_policy_names_the_nodes_that_may_not_have_followed() {
    let scene = Scene::new("");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "weft"}});
    scene.server.apply(&account.to_string());
    agent(&scene.server, "n1", true);
    agent(&scene.server, "n2", false);
    scene.policy("a", "default", "192.0.2.0/24");
    let condition = scene.until(&OF_A, "True NodesBehind");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.ends_with("1 of 2 nodes may not have followed: n2 (its agent is not ready)"),
        "{message}"
    );
    let listed = |scene: &Scene| scene.get(&OF_A).unwrap()["status"]["nodesBehind"].clone();
    assert_eq!(listed(&scene), json!(["n2"]));
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        [""; 0],
        "a node that is away is no fault of the policy"
    );
    agent(&scene.server, "n2", true);
    scene.until(&OF_A, "True InForce");
    assert_eq!(listed(&scene), Value::Null);

    // What an agent says of itself.
    let subnet = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": "n1"},
        "host": "n1", "hostIP": "192.0.2.1", "subnet": "10.128.0.0/23",
    });
    scene.server.apply(&subnet.to_string());
    let patch = json!({"status": {"policiesNotInForce": [{"namespace": "a", "name": "default", "reason": "no room"}]}});
    let patch = patch.to_string();
    let status = [
        "patch",
        "hostsubnet",
        "n1",
        "--subresource=status",
        "--type=merge",
    ];
    scene
        .server
        .kubectl(&[&status[..], &["-p", &patch]].concat());
    let condition = scene.until(&OF_A, "True NodesBehind");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.ends_with("1 of 2 nodes may not have followed: n1 (no room)"),
        "{message}"
    );
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        ["Warning NodesBehind"]
    );
}
