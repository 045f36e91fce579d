//! weft's side: a lab, brought up and asked through `weft-lab`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use weft_netns::{CommandNs as _, NetNs};

use super::attach::Plugin;
use super::egress;

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
    externals: Vec<External>,
    manifests: PathBuf,
}

#[derive(Debug, Deserialize)]
struct External {
    name: String,
    netns: PathBuf,
}

/// A file beside the place where it will count.
#[derive(Debug)]
pub struct Staged {
    from: PathBuf,
    to: PathBuf,
}

impl Staged {
    /// Puts it there.
    pub fn commit(&self) -> Result<()> {
        std::fs::rename(&self.from, &self.to)
            .with_context(|| format!("rename {}", self.from.display()))
    }
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

    /// Kernel memory of its agent's maps in MB (10^6 bytes).
    pub fn map_memory(&self) -> Result<f64> {
        let pid = self
            .agent_pid
            .with_context(|| format!("the agent of {} does not run", self.name))?;
        let path = format!("/proc/{pid}/fdinfo");
        let mut maps = BTreeMap::new();
        for entry in std::fs::read_dir(&path).with_context(|| format!("list {path}"))? {
            // A descriptor may be closed meanwhile.
            let Ok(text) = std::fs::read_to_string(entry?.path()) else {
                continue;
            };
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|value| value.trim().parse::<u32>().ok())
            };
            if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
                maps.insert(id, bytes);
            }
        }
        Ok(maps.into_values().map(f64::from).sum::<f64>() / 1e6)
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
        let dns = format!("dns={}", egress::DNS);
        let outside = ["--external", egress::WEB, "--external", &dns];
        let mut up = vec!["up", "--nodes", "2", "--mode", "multitenant"];
        up.extend(outside);
        up.extend(["--dns", egress::DNS]);
        cluster.lab(&up, "")?;
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
        let node = self
            .status()?
            .nodes
            .into_iter()
            .find(|node| node.name == name);
        node.with_context(|| format!("lab {LAB} has no {name}"))
    }

    fn status(&self) -> Result<Status> {
        let output = self.lab(&["status", "-o", "json"], "")?;
        serde_json::from_slice(&output.stdout).context("the output of weft-lab status")
    }

    /// Namespace of a host outside.
    pub fn external(&self, name: &str) -> Result<NetNs> {
        let all = self.status()?.externals.into_iter();
        let found = all.into_iter().find(|host| host.name == name);
        let host = found.with_context(|| format!("lab {LAB} has no external host {name}"))?;
        Ok(NetNs::open(&host.netns)?)
    }

    /// Writes objects.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let text: Vec<String> = objects.iter().map(Value::to_string).collect();
        self.lab(&["apply", "-f", "/dev/stdin"], &text.join("\n---\n"))?;
        Ok(())
    }

    /// Writes a file of objects beside the manifests, to be put among them at once.
    pub fn staged(&self, name: &str, objects: &[Value]) -> Result<Staged> {
        let directory = self.status()?.manifests;
        let from = directory.join(format!(".{name}"));
        let text = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&from, text.to_string())
            .with_context(|| format!("write {}", from.display()))?;
        Ok(Staged {
            from,
            to: directory.join(name),
        })
    }

    /// Removes such a file.
    pub fn unstage(&self, name: &str) -> Result<()> {
        let file = self.status()?.manifests.join(name);
        std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }

    /// How many policies a node's agent knows.
    pub fn policies(&self, node: &Node) -> Result<usize> {
        let args = ["get", "egress-policies", "-o", "json"];
        let said: Vec<Value> = serde_json::from_slice(&self.weft(node, &args)?.stdout)
            .context("the output of weft get egress-policies")?;
        Ok(said.len())
    }

    /// Waits until a node's agent has a project's policy of so many rules in force.
    pub fn wait_policy(&self, node: &Node, project: &str, rules: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let args = ["get", "egress-policies", project, "-o", "json"];
            let said: Value = serde_json::from_slice(&self.weft(node, &args)?.stdout)
                .context("the output of weft get egress-policies")?;
            let found = said[0]["rules"].as_array().map(Vec::len);
            if found == Some(rules) && said[0]["state"] == "Enforced" {
                return Ok(());
            }
            if Instant::now() > deadline {
                let state = &said[0]["state"];
                bail!("the policy of {project} is not in force: {state}, {found:?} rules");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
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
