//! The CNI plugin as a container runtime runs it: found by the paths of the lab's status, with a container id of its
//! own for each attachment.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use weft_lab::lab::status::NodeStatus;
use weft_netns::{CommandNs as _, NetNs};

use crate::cluster::Cluster;

/// One node's plugin.
pub struct Plugin {
    program: String,
    config: Value,
    netns: NetNs,
}

/// An attachment: `eth0` of one container.
#[derive(Clone)]
pub struct Attachment {
    pub container: String,
    /// Path of the container's network namespace.
    pub netns: String,
    pub project: String,
}

impl Attachment {
    pub fn new(netns: &str, project: &str) -> Self {
        Self {
            container: format!(
                "{:032x}{:032x}",
                rand::random::<u128>(),
                rand::random::<u128>()
            ),
            netns: netns.into(),
            project: project.into(),
        }
    }
}

/// What the plugin answered.
#[derive(Debug)]
pub struct Answer {
    pub success: bool,
    /// Null if it printed nothing that is JSON.
    pub value: Value,
}

impl Answer {
    /// The error code of the CNI specification.
    pub fn code(&self) -> Option<u64> {
        self.value["code"].as_u64()
    }
}

impl Plugin {
    pub fn of(cluster: &Cluster, node: &str) -> Self {
        let nodes = cluster.status().unwrap().nodes;
        let status: NodeStatus = nodes.into_iter().find(|found| found.name == node).unwrap();
        let list = fs::read(status.cni_conf_dir.join("10-weft.conflist")).unwrap();
        let list: Value = serde_json::from_slice(&list).unwrap();
        let mut config = list["plugins"][0].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["name"] = list["name"].clone();
        let program = status.cni_bin_dir.join(config["type"].as_str().unwrap());
        Self {
            program: program.display().to_string(),
            config,
            netns: cluster.host_netns(node).unwrap(),
        }
    }

    fn command(&self, command: &str) -> Command {
        let mut run = Command::new(&self.program);
        run.net_ns(&self.netns).unwrap();
        run.env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_PATH", "/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        run
    }

    /// Starts a command; whoever calls may kill it half-way.
    pub fn start(&self, command: &str, attachment: &Attachment) -> Child {
        let Attachment {
            container,
            netns,
            project,
        } = attachment;
        let pod = &container[..12];
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={project};K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={container}"
        );
        let mut run = self.command(command);
        run.env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", args);
        spawn(run, &self.config)
    }

    pub fn run(&self, command: &str, attachment: &Attachment) -> Answer {
        finish(self.start(command, attachment))
    }

    /// STATUS, or GC with the attachments that are still valid.
    pub fn manage(&self, command: &str, valid: &[&Attachment]) -> Answer {
        let mut config = self.config.clone();
        if command == "GC" {
            let valid = valid
                .iter()
                .map(|attachment| json!({"containerID": attachment.container, "ifname": "eth0"}));
            config["cni.dev/valid-attachments"] = valid.collect();
        }
        finish(spawn(self.command(command), &config))
    }
}

fn spawn(mut command: Command, config: &Value) -> Child {
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(config.to_string().as_bytes()).unwrap();
    child
}

/// Waits for the end.
pub fn finish(mut child: Child) -> Answer {
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    Answer {
        success: child.wait().unwrap().success(),
        value: serde_json::from_str(&said).unwrap_or_default(),
    }
}

/// Path of a network namespace that this process holds.
pub fn path(netns: &NetNs) -> String {
    let fd = netns.as_fd().as_raw_fd();
    format!("/proc/{}/fd/{fd}", std::process::id())
}
