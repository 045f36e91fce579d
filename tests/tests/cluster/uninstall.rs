//! weft is taken off the cluster as deploy/README.md says.

use std::path::Path;

use serde_json::json;
use weft_lab::probe::Stream;

use crate::cluster::NODES;
use crate::traces::on_node;
use crate::turn::last;

/// What the plugin needs on a node.
const FILES: [&str; 2] = ["/opt/cni/bin/weft-cni", "/etc/cni/net.d/10-weft.conflist"];

/// Pods that are there keep their network while agents, controllers and all objects go; then the purge leaves no plugin behind.
#[test]
fn packets_outlive_it() {
    let cluster = &last();
    let project = cluster.project("kept");
    let [near, far] = NODES.map(|node| project.pod(&format!("pod-{node}"), node, &json!({})));
    let streams = [
        Stream::start(&near.netns, &far.netns, far.ip).unwrap(),
        Stream::start(&far.netns, &near.netns, near.ip).unwrap(),
    ];
    let present = |node: &str| {
        let script = format!("ls {} 2>/dev/null || true", FILES.join(" "));
        on_node(cluster, node, &["sh", "-c", &script])
    };
    for node in NODES {
        assert_eq!(present(node).lines().count(), FILES.len(), "{node}");
    }

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let deploy = deploy.display().to_string();
    let purge = format!("{deploy}/purge.yaml");
    cluster.kubectl(&[
        "-n",
        "weft",
        "delete",
        "daemonset/weft-agent",
        "deployment/weft-controller",
        "--cascade=foreground",
    ]);
    cluster.kubectl(&["delete", "-k", &deploy, "--ignore-not-found"]);
    let kinds = [
        "api-resources",
        "--api-group=network.openshift.io",
        "-o",
        "name",
    ];
    assert_eq!(cluster.kubectl(&kinds), "", "all of it is gone");
    let before = streams.each_ref().map(Stream::received);
    weft_wait::eventually("packets flow after that", || {
        let mut both = streams.iter().zip(before);
        both.all(|(stream, before)| stream.received() > before + 100)
    });
    for stream in streams {
        let report = stream.finish().unwrap();
        assert_eq!(report.lost, [0; 0], "of {} packets", report.sent);
    }

    cluster.kubectl(&["apply", "-f", &purge]);
    let rollout = ["-n", "kube-system", "rollout", "status", "--timeout=60s"];
    cluster.kubectl(&[&rollout[..], &["daemonset/weft-purge"]].concat());
    for node in NODES {
        assert_eq!(present(node), "", "{node}");
    }
    cluster.kubectl(&["delete", "-f", &purge]);
}
