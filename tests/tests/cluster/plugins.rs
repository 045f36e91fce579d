//! `kubectl weft`, as README tells the operator to install it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;
use weft_wait::eventually;

use crate::cluster::{Cluster, NODES};

/// A folder of the `PATH` with the program and its other names.
pub struct Plugins(PathBuf);

impl Plugins {
    pub fn install(cluster: &Cluster) -> Self {
        let name = format!("weft-cluster-plugins-{:08x}", rand::random::<u32>());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let program = cluster.lab.state().unwrap().bin_dir.join("weft");
        symlink(program, folder.join("weft")).unwrap();
        for name in [
            "kubectl-weft",
            "kubectl-pod_network",
            "kubectl_complete-weft",
            "kubectl_complete-pod_network",
        ] {
            symlink("weft", folder.join(name)).unwrap();
        }
        Self(folder)
    }

    /// What `kubectl weft status` prints, and its exit code.
    fn status(&self, cluster: &Cluster, format: &str) -> (String, Option<i32>) {
        let rest = std::env::var("PATH").unwrap_or_default();
        let mut kubectl = cluster.lab.kubectl().unwrap();
        kubectl
            .env("PATH", format!("{}:{rest}", self.0.display()))
            .args(["weft", "status", "-o", format]);
        let output = kubectl.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if said.is_empty() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        (said, output.status.code())
    }

    /// Every node is there with its pods, and follows the same objects.
    pub fn counted(&self, cluster: &Cluster) {
        // Pods and projects of earlier cases may be on their way out.
        eventually("kubectl weft status -o json counts the pods", || {
            let (said, code) = self.status(cluster, "json");
            let lines: Vec<Value> = serde_json::from_str(&said).unwrap_or_default();
            code == Some(0)
                && lines.len() == NODES.len()
                && lines.iter().zip(NODES).all(|(line, node)| {
                    line["node"] == node
                        && line["ready"] == true
                        && line["pods"].as_u64() == Some(network_pods(cluster, node))
                })
        });
        eventually("kubectl weft status shows every node", || {
            let (said, code) = self.status(cluster, "table");
            let lines: Vec<Vec<&str>> = said
                .lines()
                .skip(1)
                .map(|line| line.split_whitespace().collect())
                .collect();
            code == Some(0)
                && lines.len() == NODES.len()
                && lines.iter().zip(NODES).all(|(line, node)| {
                    line.starts_with(&[node, "Ready"]) && line.get(4) == Some(&"same")
                })
        });
    }

    /// The node `away` without an agent is shown with the reason, and the others as before.
    pub fn missed(&self, cluster: &Cluster, away: &str) {
        let (said, code) = self.status(cluster, "table");
        let line = |node: &str| said.lines().find(|line| line.contains(node)).unwrap();
        assert_eq!(code, Some(1), "{said}");
        assert!(line(NODES[0]).contains(" Ready "), "{said}");
        let line = line(away);
        assert!(
            line.contains("Unreachable") && line.contains("no agent: namespace weft has no pod"),
            "{said}"
        );
        let (said, code) = self.status(cluster, "json");
        assert_eq!(code, Some(1), "{said}");
        let lines: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(lines[0]["ready"], true, "{said}");
        let why = lines[1]["unreachable"].as_str().unwrap_or_default();
        assert!(why.contains("no agent"), "{said}");
    }
}

impl Drop for Plugins {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// How many pods of a node have a network of their own.
fn network_pods(cluster: &Cluster, node: &str) -> u64 {
    let selector = format!("--field-selector=spec.nodeName={node}");
    let pods = cluster.get(&["pods", "-A", &selector]);
    let pods = pods["items"].as_array().unwrap().iter();
    let own = pods.filter(|pod| pod["spec"]["hostNetwork"] != true);
    own.count().try_into().unwrap()
}
