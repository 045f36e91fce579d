//! What a node has of its pods.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use weft_lab::lab::output::output_within;

use crate::cluster::Cluster;

pub fn on_node(cluster: &Cluster, node: &str, command: &[&str]) -> String {
    let mut started = cluster.lab.on_host(node, command[0]).unwrap();
    started.args(&command[1..]);
    let output = output_within(&mut started, b"", Duration::from_secs(10)).unwrap();
    assert!(output.success, "{command:?}: {output:?}");
    output.stdout
}

/// Everything that the node has of pods.
pub struct Traces {
    /// As the agent tells them.
    pods: Vec<Value>,
    links: String,
    routes: String,
    /// Name of the host's interface, and the journal's file, which is never written again.
    files: Vec<(String, u64)>,
}

impl Traces {
    pub fn of(cluster: &Cluster, node: &str) -> Self {
        let mut weft = cluster.lab.weft(Some(node)).unwrap();
        weft.args(["get", "pods", "-o", "json"]);
        let pods = output_within(&mut weft, b"", Duration::from_secs(5)).unwrap();
        let status = cluster.lab.status().unwrap();
        let found = status.nodes.iter().find(|found| found.name == node);
        let files = fs::read_dir(found.unwrap().state_dir.join("endpoints")).unwrap();
        let files = files.flatten().filter_map(|entry| {
            let name = entry.path().file_stem()?.to_str()?.to_owned();
            Some((name, entry.metadata().ok()?.ino()))
        });
        Self {
            pods: serde_json::from_str(&pods.stdout).unwrap(),
            links: on_node(cluster, node, &["ip", "-o", "link"]),
            routes: on_node(
                cluster,
                node,
                &["ip", "-o", "route", "show", "table", "all"],
            ),
            files: files.collect(),
        }
    }

    /// The interface of the pod with this address.
    pub fn interface(&self, ip: IpAddr) -> String {
        let has = |pod: &&Value| pod["ips"].as_array().unwrap().contains(&json!(ip));
        let found = self.pods.iter().find(has);
        let found = found.unwrap_or_else(|| panic!("{ip} is no pod's: {:?}", self.pods));
        found["interface"].as_str().unwrap().to_owned()
    }

    /// Interfaces that anything of the node names.
    pub fn names(&self) -> BTreeSet<String> {
        let pods = self.pods.iter().filter_map(|pod| pod["interface"].as_str());
        let words = self.links.split([' ', ':', '@']);
        let words = words.chain(self.routes.split_whitespace());
        let files = self.files.iter().map(|(name, _)| name.as_str());
        pods.chain(words).chain(files).map(str::to_owned).collect()
    }

    /// What the host has of one pod: its interface with number and address, its routes, its file.
    pub fn pod(&self, interface: &str) -> Vec<String> {
        let lines = self.links.lines().chain(self.routes.lines());
        let lines = lines.filter(|line| line.contains(interface));
        let file = self.files.iter().filter(|(name, _)| name == interface);
        let file = file.map(|(_, inode)| format!("file {inode}"));
        lines.map(str::to_owned).chain(file).collect()
    }
}
