//! A node whose agent stays away: what becomes of pods that end or come meanwhile, and what is left once it is back.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use weft_lab::probe::Stream;
use weft_netns::NetNs;
use weft_wait::eventually;

use crate::cluster::{Cluster, NODES, Pod, Project};
use crate::http::seen_as;
use crate::plugins::Plugins;
use crate::traces::{Traces, on_node};
use crate::turn::alone;

/// Agents run where this label is.
const LABEL: &str = "weft.test/agent";
const AGENTS: &str = "app.kubernetes.io/component=agent";
const AWAY: &str = NODES[1];
/// What an operator reads of a request that found no agent.
const REASON: &str = "the weft agent at /run/weft/cni.sock";

/// Requests that found no agent say so and are repeated; then all is as if it had been there. Meanwhile nothing else changes, and
/// `kubectl weft status` tells of it.
#[test]
fn agent_stays_away() {
    let cluster = &alone();
    let project = cluster.project("absent");
    for (name, node) in [("near", NODES[0]), ("far", AWAY), ("vanishing", AWAY)] {
        project.request_pod(name, node, &json!({}));
    }
    // Its object is there until all of it has ended; those of pods without grace are gone at once.
    project.request_pod("ending", AWAY, &json!({"terminationGracePeriodSeconds": 1}));
    project.deployment("gone", 2);
    let [near, far, ending, vanishing] =
        ["near", "far", "ending", "vanishing"].map(|name| project.ready_pod(name));

    let plugins = Plugins::install(cluster);
    reachable_and_movable(cluster);
    plugins.counted(cluster);

    let gone = project.pods("gone");
    let gone = gone.iter().filter(|pod| pod.node == AWAY);
    let ended: Vec<IpAddr> = gone
        .chain([&ending, &vanishing])
        .map(|pod| pod.ip)
        .collect();
    assert!(ended.len() > 2, "a pod of the deployment is on the node");
    let before = Traces::of(cluster, AWAY);
    let ended: BTreeSet<String> = ended.iter().map(|ip| before.interface(*ip)).collect();
    let kept = before.pod(&before.interface(far.ip));
    let streams = [
        Stream::start(&near.netns, &far.netns, far.ip).unwrap(),
        Stream::start(&far.netns, &near.netns, near.ip).unwrap(),
    ];

    cluster.kubectl(&["label", "node", AWAY, &format!("{LABEL}-")]);
    eventually("the agent is gone", || agents_of(cluster, AWAY).is_empty());
    policy(&project);
    project.kubectl(&["delete", "deployment", "gone", "--wait=false"]);
    project.kubectl(&["delete", "pod", "ending", "--wait=false"]);
    let lost = vanishing.ip;
    vanish(cluster, vanishing);
    project.request_pod("late", AWAY, &json!({}));
    plugins.missed(cluster, AWAY);
    follows(&project, "NodesBehind", &json!([AWAY]));
    said(&project, "late", "FailedCreatePodSandBox");
    said(&project, "ending", "FailedKillPod");
    let object = cluster.get(&["pod", "-n", &project.name, "ending"]);
    assert!(
        object["metadata"]["deletionTimestamp"].is_string(),
        "{object:#}"
    );
    eventually("the pod that vanished is missed", || {
        !project.is_ready("vanishing")
    });

    cluster.kubectl(&["label", "node", AWAY, &format!("{LABEL}=here")]);
    let late = project.ready_pod("late");
    assert_eq!(seen_as(&near.netns, late.server()).ok(), Some(near.ip));
    project.kubectl(&["wait", "--for=delete", "--timeout=60s", "pod/ending"]);
    let again = project.ready_pod("vanishing");
    assert_ne!(again.ip, lost, "it has a network of its own again");
    assert_eq!(seen_as(&again.netns, near.server()).ok(), Some(again.ip));
    eventually("nothing is left of the pods that ended", || {
        Traces::of(cluster, AWAY).names().is_disjoint(&ended)
    });
    let after = Traces::of(cluster, AWAY);
    assert_eq!(after.pod(&after.interface(far.ip)), kept, "not touched");
    assert!(kept.len() > 2, "interface, route and file: {kept:?}");
    follows(&project, "InForce", &Value::Null);
    for stream in streams {
        let report = stream.finish().unwrap();
        assert_eq!(
            report.lost, [0; 0],
            "of {} packets, refused: {:?}, pause {:?}",
            report.sent, report.refused, report.pause
        );
        assert!(report.sent > 1000, "{}", report.sent);
    }
    plugins.counted(cluster);
    for pod in NODES.iter().flat_map(|node| agents_of(cluster, node)) {
        let containers = pod["status"]["containerStatuses"].as_array().unwrap();
        assert!(
            containers
                .iter()
                .all(|found| found["ready"] == true && found["restartCount"] == 0),
            "probes work on every address: {pod:#}"
        );
    }
}

/// The agents listen where the API server reaches them, as deploy/README.md says, and run where the label is. A changed pod
/// template restarts them as `rollout restart` does.
fn reachable_and_movable(cluster: &Cluster) {
    cluster.kubectl(&["label", "node", "--all", &format!("{LABEL}=here")]);
    let config = cluster.get(&["configmap", "-n", "weft", "weft"]);
    let agent = config["data"]["agent.yaml"].as_str().unwrap();
    let agent = agent.replace(
        "metricsAddress: 127.0.0.1:9618",
        "metricsAddress: 0.0.0.0:9618",
    );
    let patch = |object: &str, change: &Value| {
        let change = change.to_string();
        cluster.kubectl(&[
            "-n",
            "weft",
            "patch",
            object,
            "--type=merge",
            "--patch",
            &change,
        ]);
    };
    patch("configmap/weft", &json!({"data": {"agent.yaml": agent}}));
    patch(
        "daemonset/weft-agent",
        &json!({"spec": {
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"spec": {"nodeSelector": {LABEL: "here"}}},
        }}),
    );
    cluster.kubectl(&[
        "-n",
        "weft",
        "rollout",
        "status",
        "--timeout=90s",
        "daemonset/weft-agent",
    ]);
}

fn agents_of(cluster: &Cluster, node: &str) -> Vec<Value> {
    let selector = format!("--field-selector=spec.nodeName={node}");
    let found = cluster.get(&["pods", "-n", "weft", "-l", AGENTS, &selector]);
    found["items"].as_array().unwrap().clone()
}

/// The kubelet has told the pod's owner that it found no agent.
fn said(project: &Project<'_>, pod: &str, reason: &str) {
    eventually(&format!("{reason} of {pod}"), || {
        let of = format!("--field-selector=involvedObject.name={pod},reason={reason}");
        let events = project.cluster.get(&["events", "-n", &project.name, &of]);
        let mut events = events["items"].as_array().unwrap().iter();
        events.any(|event| event["message"].as_str().unwrap().contains(REASON))
    });
}

fn policy(project: &Project<'_>) {
    project.cluster.apply(&json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": project.name},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "203.0.113.0/24"}}]},
    }));
}

/// The policy's status comes to give this reason and to name these nodes.
fn follows(project: &Project<'_>, reason: &str, behind: &Value) {
    eventually(&format!("{reason}, {behind}"), || {
        let policy = ["egressnetworkpolicy", "-n", &project.name, "default"];
        let policy = project.cluster.get(&policy);
        let status = &policy["status"];
        status["conditions"][0]["reason"] == reason && status["nodesBehind"] == *behind
    });
}

/// What a reboot does to a pod: its processes end and its network namespace is no more.
fn vanish(cluster: &Cluster, pod: Pod) {
    let id = pod.netns.id();
    drop(pod);
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in processes {
        if NetNs::of_pid(pid).is_ok_and(|netns| netns.id() == id) {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        }
    }
    let script = format!(
        "for pin in /run/netns/*; do [ $(stat -c %i $pin) != {} ] || ip netns delete ${{pin##*/}}; done",
        id.ino
    );
    on_node(cluster, AWAY, &["sh", "-c", &script]);
}
