//! Agents and nodes that go away and come back.

use serde_json::json;
use weft_lab::probe::Stream;
use weft_wait::eventually;

use crate::cluster::NODES;
use crate::http::seen_as;
use crate::turn::alone;

/// All agents are replaced, node by node, and no packet is lost meanwhile.
#[test]
fn rolling_update() {
    let cluster = &alone();
    let project = cluster.project("update");
    let pods = NODES.map(|node| project.pod(&format!("pod-{node}"), node, &json!({})));
    let neighbour = project.pod("neighbour", NODES[0], &json!({}));
    let streams = [
        Stream::start(&pods[0].netns, &pods[1].netns, pods[1].ip).unwrap(),
        Stream::start(&pods[1].netns, &pods[0].netns, pods[0].ip).unwrap(),
        Stream::start(&pods[0].netns, &neighbour.netns, neighbour.ip).unwrap(),
    ];
    let agents = || {
        cluster.kubectl(&[
            "get",
            "pods",
            "-n",
            "weft",
            "-o",
            "name",
            "-l",
            "app.kubernetes.io/component=agent",
        ])
    };
    let before = agents();
    cluster.kubectl(&["-n", "weft", "rollout", "restart", "daemonset/weft-agent"]);
    cluster.kubectl(&[
        "-n",
        "weft",
        "rollout",
        "status",
        "--timeout=90s",
        "daemonset/weft-agent",
    ]);
    assert!(
        before.lines().all(|old| !agents().contains(old)),
        "each agent is a new one"
    );
    for stream in streams {
        let report = stream.finish().unwrap();
        // Whether the sender's kernel refused them, and how long the sender itself paused, tells where to look.
        assert_eq!(
            report.lost, [0; 0],
            "of {} packets, refused: {:?}, pause {:?}",
            report.sent, report.refused, report.pause
        );
        assert!(report.sent > 1000, "{}", report.sent);
    }
    // Pods are made as before.
    let new = project.pod("new", NODES[1], &json!({}));
    assert_eq!(seen_as(&pods[0].netns, new.server()).ok(), Some(pods[0].ip));
}

/// Pods that are made, and pods that end, while the node's agent is away are no worse for it in the end.
#[test]
fn agents_deleted() {
    let cluster = &alone();
    let project = cluster.project("away");
    let client = project.pod("client", NODES[0], &json!({}));
    project.deployment("old", 4);
    let old: Vec<_> = project
        .pods("old")
        .iter()
        .map(|pod| (pod.node.clone(), pod.ip))
        .collect();
    cluster.kubectl(&[
        "-n",
        "weft",
        "delete",
        "pod",
        "--wait=false",
        "--grace-period=1",
        "-l",
        "app.kubernetes.io/component=agent",
    ]);
    project.kubectl(&["delete", "deployment", "old", "--wait=false"]);
    project.deployment("new", 8);
    for pod in project.pods("new") {
        assert_eq!(
            seen_as(&client.netns, pod.server()).ok(),
            Some(client.ip),
            "{}",
            pod.name
        );
    }
    cluster.kubectl(&[
        "-n",
        "weft",
        "rollout",
        "status",
        "--timeout=90s",
        "daemonset/weft-agent",
    ]);
    eventually(
        "the pods that ended have left nothing in the agents",
        || {
            NODES.iter().all(|node| {
                let mut weft = cluster.lab.weft(Some(node)).unwrap();
                weft.args(["get", "pods", "-o", "json"]);
                let output = weft_lab::lab::output::output_within(
                    &mut weft,
                    b"",
                    std::time::Duration::from_secs(5),
                )
                .unwrap();
                let mine = format!("\"{}\"", project.name);
                let known = output.stdout.matches(&mine).count();
                let wanted = project
                    .pods("new")
                    .iter()
                    .chain([&client])
                    .filter(|pod| pod.node == *node)
                    .count();
                output.success
                    && known == wanted
                    && old.iter().all(|(_, _)| !output.stdout.contains("old-"))
            })
        },
    );
}

/// A node is emptied and comes back: its pods go elsewhere, and new ones come to it.
#[test]
fn drain_and_return() {
    let cluster = &alone();
    let project = cluster.project("drain");
    let client = project.pod("client", NODES[0], &json!({}));
    project.movable_deployment("web", 4);
    cluster.kubectl(&[
        "drain",
        NODES[1],
        "--ignore-daemonsets",
        "--force",
        "--delete-emptydir-data",
        "--timeout=60s",
    ]);
    project.rolled_out("deployment/web");
    let pods = project.pods("web");
    assert!(
        pods.iter().all(|pod| pod.node == NODES[0]),
        "on the other node"
    );
    for pod in &pods {
        assert_eq!(seen_as(&client.netns, pod.server()).ok(), Some(client.ip));
    }
    cluster.kubectl(&["uncordon", NODES[1]]);
    let back = project.pod("back", NODES[1], &json!({}));
    assert_eq!(seen_as(&client.netns, back.server()).ok(), Some(client.ip));
    assert_eq!(seen_as(&back.netns, pods[0].server()).ok(), Some(back.ip));
}
