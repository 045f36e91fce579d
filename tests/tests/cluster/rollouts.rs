//! Deployments and probes.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::{NODES, server};
use crate::http::{SOON, get, seen_as, silent};
use crate::turn::{alone, beside};

/// Each pod, also one of a later version, answers a pod on each node, which it sees by its own address.
#[test]
fn rolled_out_and_scaled() {
    let cluster = &beside();
    let project = cluster.project("rollout");
    let clients = NODES.map(|node| project.pod(&format!("client-{node}"), node, &json!({})));
    project.deployment("web", 2);
    let check = |replicas: usize| {
        let pods = project.pods("web");
        assert_eq!(pods.len(), replicas);
        let nodes: BTreeSet<_> = pods.iter().map(|pod| pod.node.clone()).collect();
        let addresses: BTreeSet<_> = pods.iter().map(|pod| pod.ip).collect();
        assert_eq!(addresses.len(), replicas, "no address twice");
        for pod in &pods {
            for client in &clients {
                let seen = seen_as(&client.netns, pod.server());
                assert_eq!(
                    seen.ok(),
                    Some(client.ip),
                    "{} to {}",
                    client.name,
                    pod.name
                );
            }
            let name = get(&clients[0].netns, pod.server(), "/hostname", SOON);
            assert_eq!(
                name.ok(),
                Some(pod.name.clone()),
                "the pod that has the address"
            );
        }
        (addresses, nodes)
    };
    let both = NODES.map(str::to_owned);
    assert_eq!(check(2).1, both.clone().into(), "pods on both nodes");
    project.kubectl(&["scale", "deployment/web", "--replicas=6"]);
    project.rolled_out("deployment/web");
    let (before, nodes) = check(6);
    assert_eq!(nodes, both.into(), "pods on both nodes");
    project.kubectl(&["set", "env", "deployment/web", "VERSION=2"]);
    project.rolled_out("deployment/web");
    let (after, _) = check(6);
    assert_ne!(before, after, "all pods are new ones");
    project.kubectl(&["scale", "deployment/web", "--replicas=2"]);
    project.rolled_out("deployment/web");
    weft_wait::eventually("scaled down", || project.pods("web").len() == 2);
    check(2);
}

/// A kubelet asks a pod whom nobody else reaches, and finds it ready and alive.
#[test]
fn probes_of_isolated_pods() {
    let cluster = &alone();
    let (alone, other) = (cluster.project("alone"), cluster.project("other"));
    let mut container = server();
    container["livenessProbe"] =
        json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    for node in NODES {
        let pod = alone.pod(
            &format!("pod-{node}"),
            node,
            &json!({"containers": [container]}),
        );
        let stranger = other.pod(&format!("pod-{node}"), node, &json!({}));
        assert!(silent(&stranger.netns, pod.server()), "isolated");
        let name = pod.name.as_str();
        let status = || alone.cluster.get(&["pod", "-n", &alone.name, name])["status"].clone();
        // Each second a probe that would have ended it.
        let begun = std::time::Instant::now();
        weft_wait::eventually("three probes later", || begun.elapsed().as_secs() >= 3);
        let found = status();
        assert_eq!(
            found["containerStatuses"][0]["restartCount"], 0,
            "{found:#}"
        );
        assert_eq!(found["containerStatuses"][0]["ready"], true, "{found:#}");
    }
}
