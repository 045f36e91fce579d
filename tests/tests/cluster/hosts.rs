//! Nodes and the outside: pods of the host network, node ports, what kubelets forward.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::json;
use weft_wait::eventually;

use crate::cluster::{NODES, PORT};
use crate::http::{SOON, get, seen_as};
use crate::turn::beside;

/// A pod of the host network has its node's address, reaches pods and is reached by them.
#[test]
fn host_network() {
    let cluster = &beside();
    let project = cluster.project("hosts");
    let more = json!({"hostNetwork": true});
    let hosts = NODES.map(|node| project.pod(&format!("host-{node}"), node, &more));
    let pods = NODES.map(|node| project.pod(&format!("pod-{node}"), node, &json!({})));
    for host in &hosts {
        assert_eq!(host.ip, cluster.node_ip(&host.node));
        for pod in &pods {
            let answer = get(&host.netns, pod.server(), "/hostname", SOON);
            assert_eq!(
                answer.ok().as_ref(),
                Some(&pod.name),
                "{} to {}",
                host.name,
                pod.name
            );
            let answer = get(&pod.netns, host.server(), "/hostname", SOON);
            assert_eq!(
                answer.ok().as_ref(),
                Some(&host.node),
                "{} to {}",
                pod.name,
                host.name
            );
        }
    }
}

/// From outside, a service answers on each node, wherever its pod is; with a local policy on the pod's own, and there the pod sees
/// the client's address.
#[test]
fn node_ports() {
    let cluster = &beside();
    let project = cluster.project("ports");
    let outside = cluster.lab.host_netns("web").unwrap();
    project.pod("far", NODES[1], &json!({}));
    let port = |more: serde_json::Value| {
        project.service("far", &more);
        let port = project.kubectl(&[
            "get",
            "service",
            "far",
            "-o",
            "jsonpath={.spec.ports[0].nodePort}",
        ]);
        port.parse::<u16>().unwrap()
    };
    let everywhere = port(json!({"type": "NodePort"}));
    for node in NODES {
        let to = SocketAddr::new(cluster.node_ip(node), everywhere);
        eventually(&format!("{to} answers"), || {
            get(&outside, to, "/hostname", SOON).ok().as_deref() == Some("far")
        });
    }
    let local = port(json!({"type": "NodePort", "externalTrafficPolicy": "Local"}));
    let to = SocketAddr::new(cluster.node_ip(NODES[1]), local);
    let underlay = cluster.lab.state().unwrap().externals[0].underlay[0];
    eventually("the client's own address is seen", || {
        seen_as(&outside, to).ok() == Some(underlay)
    });
}

/// What an operator does with a pod goes through API server and kubelet.
#[test]
fn exec_and_port_forward() {
    let cluster = &beside();
    let project = cluster.project("exec");
    let [near, far] = NODES.map(|node| project.pod(&format!("pod-{node}"), node, &json!({})));
    let target = far.server().to_string();
    project.kubectl(&[
        "exec",
        &near.name,
        "--",
        "/agnhost",
        "connect",
        "--timeout=3s",
        &target,
    ]);

    // An agent is asked in its pod, as README says.
    let selector = format!("--field-selector=spec.nodeName={}", near.node);
    let agent = [
        "get",
        "pods",
        "-n",
        "weft",
        "-l",
        "app.kubernetes.io/component=agent",
    ];
    let agent = cluster.kubectl(&[&agent[..], &[&selector, "-o", "name"]].concat());
    let explained = cluster.kubectl(&[
        "exec",
        "-n",
        "weft",
        agent.trim(),
        "-c",
        "agent",
        "--",
        "weft",
        "explain",
        "--from",
        &format!("{}/{}", project.name, near.name),
        "--to",
        &target,
    ]);
    assert!(explained.contains("allowed"), "{explained}");

    let mut forward = cluster.lab.kubectl().unwrap();
    let pod = format!("pod/{}", far.name);
    let mut child = forward
        .args([
            "-n",
            &project.name,
            "port-forward",
            &pod,
            &format!(":{PORT}"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = child.stdout.take().unwrap();
    let mut byte = [0];
    while !said.ends_with('\n') && output.read(&mut byte).unwrap() == 1 {
        said.push(char::from(byte[0]));
    }
    // "Forwarding from 127.0.0.1:PORT -> 8080"
    let port = said
        .split("127.0.0.1:")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    let underlay = weft_netns::NetNs::open(cluster.lab.status().unwrap().underlay_netns).unwrap();
    let answer =
        port.map(|port: u16| get(&underlay, ([127, 0, 0, 1], port).into(), "/hostname", SOON));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer.and_then(Result::ok), Some(far.name), "{said:?}");
}
