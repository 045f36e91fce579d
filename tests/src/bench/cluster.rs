//! weft's side: a lab, brought up and asked through `weft-lab`.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use weft_netns::{CommandNs as _, NetNs};

use super::attach::Plugin;

/// The lab's name. It is the same in every run, so that `up` clears what a killed run left.
const LAB: &str = "bench";

/// A lab of two nodes; gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    bins: PathBuf,
}

/// Takes the lab down, if there is one, from outside the run that made it.
pub fn abandon() {
    if let Ok(bins) = bins() {
        drop(Cluster { bins });
    }
}

/// Where `weft` and `weft-lab` are: beside this program.
fn bins() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the path of this program")?;
    Ok(own
        .parent()
        .context("the directory of this program")?
        .into())
}

/// What `weft-lab status -o json` says about a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    netns: PathBuf,
    ip: IpAddr,
    agent_pid: Option<u32>,
    config: PathBuf,
    cni_conf_dir: PathBuf,
    cni_bin_dir: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Status {
    nodes: Vec<Node>,
}

impl Node {
    /// Its network namespace.
    pub fn ns(&self) -> Result<NetNs> {
        Ok(NetNs::open(&self.netns)?)
    }

    /// Its address on the underlay.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The CNI plugin, as a container runtime on the node would run it.
    pub fn plugin(&self) -> Result<Plugin> {
        Plugin::from_list(&self.cni_conf_dir, &self.cni_bin_dir, self.ns()?)
    }

    /// Resident memory of its agent in MB (10^6 bytes).
    pub fn agent_memory(&self) -> Result<f64> {
        let pid = self
            .agent_pid
            .with_context(|| format!("the agent of {} does not run", self.name))?;
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
            .with_context(|| format!("no VmRSS in {path}"))?;
        Ok(kib * 1024.0 / 1e6)
    }
}

impl Cluster {
    /// Brings a lab up, with projects of the given names.
    pub fn up(projects: &[&str]) -> Result<Self> {
        let cluster = Self { bins: bins()? };
        cluster.lab(&["up", "--nodes", "2", "--mode", "multitenant"], "")?;
        for project in projects {
            let object = format!(
                "{{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {{\"name\": \"{project}\"}}}}"
            );
            cluster.lab(&["apply", "-f", "/dev/stdin"], &object)?;
        }
        Ok(cluster)
    }

    /// A node, as it is now.
    pub fn node(&self, name: &str) -> Result<Node> {
        let output = self.lab(&["status", "-o", "json"], "")?;
        let status: Status =
            serde_json::from_slice(&output.stdout).context("the output of weft-lab status")?;
        let node = status.nodes.into_iter().find(|node| node.name == name);
        node.with_context(|| format!("lab {LAB} has no {name}"))
    }

    /// How long a node's agent took to load its programs and maps when it started, in milliseconds.
    pub fn load_time(&self, node: &Node) -> Result<f64> {
        let output = self.weft(node, &["status", "-o", "json"])?;
        let status: Value =
            serde_json::from_slice(&output.stdout).context("the output of weft status")?;
        let micros = status["dataPath"]["loadMicros"].as_f64();
        Ok(micros.context("weft status has no dataPath.loadMicros")? / 1e3)
    }

    /// Runs a `weft` command against a node's agent, without the lab's own command in between.
    pub fn weft(&self, node: &Node, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.bins.join("weft"));
        command
            .args(args)
            .env("WEFT_CONFIG", &node.config)
            .net_ns(&node.ns()?)?;
        let output = command.output().context("run weft")?;
        checked(output, &format!("weft {}", args.join(" ")))
    }

    /// Runs a `weft-lab` command on this lab.
    pub fn lab(&self, args: &[&str], input: &str) -> Result<Output> {
        let program = self.bins.join("weft-lab");
        let mut child = Command::new(&program)
            .args(args)
            .args(["--lab", LAB])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // What ends without reading says why by its output.
            drop(stdin.write_all(input.as_bytes()));
        }
        let output = child.wait_with_output()?;
        checked(output, &format!("weft-lab {}", args.join(" ")))
    }
}

fn checked(output: Output, what: &str) -> Result<Output> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what}: {}: {}", output.status, said.trim());
    }
    Ok(output)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(e) = self.lab(&["down"], "") {
            eprintln!("weft-bench: the lab is still there: {e:#}");
        }
    }
}
