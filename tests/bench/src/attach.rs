//! Pods attached and detached, each way timed from the outside.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use weft_netns::{CommandNs as _, NetNs};

use super::link::POD_MTU;
use super::space;

/// A network namespace that is to become a pod.
#[derive(Debug)]
pub struct Pod {
    /// The namespace.
    pub ns: NetNs,
    /// Container id.
    pub id: String,
    /// Its project.
    pub project: String,
}

impl Pod {
    /// An empty namespace with a fresh container id.
    pub fn create(project: &str) -> Result<Self> {
        let id = [0; 4].map(|_: u8| format!("{:016x}", rand::random::<u64>()));
        Ok(Self {
            ns: NetNs::create()?,
            id: id.concat(),
            project: project.into(),
        })
    }
}

/// What an attachment gave, and how long it took.
#[derive(Debug)]
pub struct Attached {
    /// From the start to the end of the plugin's process.
    pub took: Duration,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
}

/// A way to attach pods to a node.
pub trait Attach: Sync {
    /// Connects the pod.
    fn add(&self, pod: &Pod) -> Result<Attached>;
    /// Disconnects it; the namespace may be connected again.
    fn del(&self, pod: &Pod) -> Result<Duration>;
}

/// A CNI plugin, run as a container runtime runs it.
#[derive(Debug)]
pub struct Plugin {
    program: PathBuf,
    /// Where plugins that it delegates to are.
    path: PathBuf,
    config: String,
    /// The node's namespace.
    node: NetNs,
}

impl Plugin {
    /// The first plugin of a network configuration list, from the directories that a runtime is given.
    pub fn from_list(conf_dir: &Path, bin_dir: &Path, node: NetNs) -> Result<Self> {
        let entries = conf_dir
            .read_dir()
            .with_context(|| format!("list {}", conf_dir.display()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        files.sort();
        let Some(file) = files.first() else {
            bail!("no network configuration in {}", conf_dir.display());
        };
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let list: Value =
            serde_json::from_str(&text).with_context(|| format!("parse {}", file.display()))?;
        let mut config = list["plugins"][0].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["name"] = list["name"].clone();
        let Some(name) = config["type"].as_str() else {
            bail!("{}: the first plugin has no type", file.display());
        };
        Ok(Self {
            program: bin_dir.join(name),
            path: bin_dir.into(),
            config: config.to_string(),
            node,
        })
    }

    /// Debian's `bridge` with `host-local`, which keeps its addresses in files under `data`.
    pub fn bridge(node: NetNs, data: &Path) -> Result<Self> {
        let path = PathBuf::from("/usr/lib/cni");
        let program = path.join("bridge");
        if !program.is_file() {
            bail!(
                "{} is not there: install containernetworking-plugins (`make setup` does)",
                program.display()
            );
        }
        let config = json!({
            "cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0",
            "isDefaultGateway": true, "mtu": POD_MTU,
            "ipam": {"type": "host-local", "dataDir": data, "ranges": [[{"subnet": "10.95.0.0/22"}]]},
        });
        Ok(Self {
            program,
            path,
            config: config.to_string(),
            node,
        })
    }

    fn run(&self, command: &str, pod: &Pod) -> Result<(Duration, String)> {
        let Pod { ns, id, project } = pod;
        let mut run = Command::new(&self.program);
        run.env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_NETNS", space::path(ns))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.path)
            .env(
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE={project};K8S_POD_NAME=p{};\
                     K8S_POD_INFRA_CONTAINER_ID={id}",
                    &id[..8]
                ),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .net_ns(&self.node)?;
        let start = Instant::now();
        let mut child = run
            .spawn()
            .with_context(|| format!("run {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that ends without reading its configuration says why by its output.
            drop(stdin.write_all(self.config.as_bytes()));
        }
        let output = child.wait_with_output()?;
        let took = start.elapsed();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!(
                "CNI {command} by {}: {}: {stdout} {stderr}",
                self.program.display(),
                output.status
            );
        }
        Ok((took, stdout))
    }
}

impl Attach for Plugin {
    fn add(&self, pod: &Pod) -> Result<Attached> {
        let (took, stdout) = self.run("ADD", pod)?;
        let result: Value = serde_json::from_str(&stdout).context("the result of CNI ADD")?;
        let ips = result["ips"].as_array().into_iter().flatten();
        let ips = ips.filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok());
        Ok(Attached {
            took,
            ips: ips.collect(),
        })
    }

    fn del(&self, pod: &Pod) -> Result<Duration> {
        self.run("DEL", pod).map(|(took, _)| took)
    }
}
