//! The egress firewall by names of the cluster's own DNS service.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use serde_json::json;
use weft_lab::probe::{Lookup, Outcome, Server, tcp};
use weft_wait::eventually;

use crate::cluster::{DNS, NODES};
use crate::http::{SILENCE, SOON};
use crate::turn::alone;

const NAME: &str = "www.example.com";
/// Known to the same server, and of no concern to the policy.
const OTHER_NAME: &str = "kubernetes.default.svc.cluster.local";
const ALLOWED: &str = "198.51.100.7";
const DENIED: &str = "198.51.100.8";

/// The answer comes from a pod, through a service whose address the host translates back, and opens the address before the pod
/// has it; all else stays closed.
#[test]
fn by_name() {
    let cluster = &alone();
    let data = json!({"data": {"hosts": format!("{ALLOWED} {NAME}\n")}}).to_string();
    cluster.kubectl(&[
        "-n",
        "kube-system",
        "patch",
        "configmap",
        "coredns",
        "-p",
        &data,
    ]);
    let agent = format!(
        "source: {{kubernetes: {{}}}}\nmetricsAddress: 127.0.0.1:9618\ndns: {{servers: [{DNS}]}}\n"
    );
    let data = json!({"data": {"agent.yaml": agent}}).to_string();
    cluster.kubectl(&["-n", "weft", "patch", "configmap", "weft", "-p", &data]);
    for (namespace, what) in [
        ("kube-system", "deployment/coredns"),
        ("weft", "daemonset/weft-agent"),
    ] {
        cluster.kubectl(&["-n", namespace, "rollout", "restart", what]);
    }
    for (namespace, what) in [
        ("kube-system", "deployment/coredns"),
        ("weft", "daemonset/weft-agent"),
    ] {
        cluster.kubectl(&["-n", namespace, "rollout", "status", "--timeout=90s", what]);
    }

    let outside = cluster.lab.host_netns("web").unwrap();
    let server = Server::start(&outside, 0, "web").unwrap();
    let project = cluster.project("egress");
    cluster.apply(&json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": project.name},
        "spec": {"egress": [
            {"type": "Allow", "to": {"dnsName": NAME}},
            {"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}},
            {"type": "Deny", "to": {"cidrSelector": "::/0"}},
        ]},
    }));
    for node in NODES {
        let pod = project.pod(&format!("pod-{node}"), node, &json!({}));
        let to = |ip: &str| SocketAddr::new(ip.parse().unwrap(), server.port());
        let lookup = Lookup {
            patience: SOON,
            ..Lookup::at(DNS.parse().unwrap())
        };
        // kube-proxy may still lead to the DNS server that was before.
        eventually("the DNS server answers", || {
            let asked = pod.netns.run(|| lookup.ask(OTHER_NAME, RecordType::A));
            asked.unwrap().is_ok()
        });
        let round = pod
            .netns
            .run(|| lookup.connect(NAME, RecordType::A, server.port(), Duration::from_secs(1)));
        let round = round.unwrap().unwrap();
        assert_eq!(round.answer.addresses, [ALLOWED.parse::<IpAddr>().unwrap()]);
        // With the first packet, from the node's address.
        assert!(
            round.outcome.reached_from(cluster.node_ip(node)),
            "{round:?}"
        );
        assert_eq!(
            tcp(&pod.netns, to(DENIED), SILENCE).unwrap(),
            Outcome::Silent
        );
    }
}
