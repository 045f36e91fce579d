//! What runs on a node of a real cluster: containerd, a kubelet, kube-proxy.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weft_netns::{CommandNs as _, MountNs, NetNs};
use weft_wait::patience::patient;

use super::credentials::Files;
use super::space::{self, PROGRAMS};
use crate::lab::error::{Error, file};
use crate::lab::name::netns_path;
use crate::lab::options::PodRange;
use crate::lab::output::output_within;
use crate::lab::process::{Process, spawn_daemon};
use crate::lab::state::{Node, State};
use crate::lab::{LabName, daemon};

/// Names of what runs on a node, in the order of its start.
pub const CONTAINERD: &str = "containerd";
/// The kubelet's.
pub const KUBELET: &str = "kubelet";
/// kube-proxy's.
pub const KUBE_PROXY: &str = "kube-proxy";
/// Name of the image that pods of tests and every pod's sandbox run.
pub const POD_IMAGE: &str = "localhost/agnhost:1";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// How long containerd may take to answer, and an image to be read.
const PATIENCE: Duration = Duration::from_mins(1);

/// A node's namespaces.
pub struct Inside<'a> {
    lab: &'a LabName,
    node: &'a Node,
    net: NetNs,
    space: MountNs,
}

impl<'a> Inside<'a> {
    /// Of a node with a new mount namespace.
    pub fn new(lab: &'a LabName, node: &'a Node, space: MountNs) -> Result<Self, Error> {
        let net = NetNs::open(netns_path(&node.netns))?;
        Ok(Self {
            lab,
            node,
            net,
            space,
        })
    }

    /// Of a node at work.
    pub fn of(lab: &'a LabName, node: &'a Node) -> Result<Self, Error> {
        let running = node.programs.values().find(|process| process.is_alive());
        let running = running.ok_or_else(|| {
            Error::Invalid(format!("{}: nothing of Kubernetes runs there", node.name))
        })?;
        let space = MountNs::of_pid(running.pid.cast_unsigned())?;
        Self::new(lab, node, space)
    }

    /// A command that will run there, with the node's name as host name.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, Error> {
        let mut command = Command::new("unshare");
        command
            .args(["--uts", "--", "sh", "-c"])
            .args(["hostname \"$0\" && exec \"$@\"", &self.node.name])
            .arg(program)
            .net_ns(&self.net)?
            .mount_ns(&self.space)?;
        Ok(command)
    }

    fn start(&self, name: &str, program: &str, arguments: &[String]) -> Result<Process, Error> {
        let mut command = self.command("setsid")?;
        command.arg(program).args(arguments);
        spawn_daemon(command, &log(self.lab, &self.node.name, name))
    }

    /// Starts containerd.
    pub fn containerd(&self) -> Result<Process, Error> {
        let config = self.file("containerd.toml");
        fs::write(&config, containerd_configuration()).map_err(file("write", &config))?;
        self.start(
            CONTAINERD,
            CONTAINERD,
            &[format!("--config={}", config.display())],
        )
    }

    /// Waits until containerd answers, then gives it an image.
    pub fn import(&self, containerd: Process, image: &Path) -> Result<(), Error> {
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            let mut ctr = self.command("ctr")?;
            ctr.args(["--address", SOCKET, "--namespace", "k8s.io"])
                .args(["images", "import"])
                .arg(image);
            let output = output_within(&mut ctr, b"", patient(PATIENCE))?;
            let said = format!("{} {}", output.stdout, output.stderr);
            let why = match output.success {
                true => return Ok(()),
                false if !containerd.is_alive() => "it ended".to_owned(),
                false if said.contains("dial") && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                false => format!("import of {}: {}", image.display(), said.trim()),
            };
            return Err(self.failure(CONTAINERD, why));
        }
    }

    /// Starts the kubelet.
    pub fn kubelet(&self, dns: &[String]) -> Result<Process, Error> {
        let config = self.file("kubelet.json");
        let files = Files::of(self.lab);
        write(&config, &kubelet_configuration(self.lab, &files, dns))?;
        let addresses = self.node.addresses.map(|address| address.to_string());
        self.start(
            KUBELET,
            &format!("{PROGRAMS}/{KUBELET}"),
            &[
                format!("--config={}", config.display()),
                format!(
                    "--kubeconfig={}",
                    files.kubeconfig_of(&self.node.name).display()
                ),
                format!("--hostname-override={}", self.node.name),
                format!("--node-ip={}", addresses.join(",")),
                "--root-dir=/var/lib/kubelet".to_owned(),
                "--cert-dir=/var/lib/kubelet/pki".to_owned(),
            ],
        )
    }

    /// Starts kube-proxy.
    pub fn kube_proxy(&self, pods: &[PodRange]) -> Result<Process, Error> {
        let config = self.file("kube-proxy.json");
        let ranges: Vec<String> = pods.iter().map(|range| range.cidr.to_string()).collect();
        write(
            &config,
            &json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
                "mode": "iptables", "hostnameOverride": self.node.name,
                "detectLocalMode": "ClusterCIDR", "clusterCIDR": ranges.join(","),
                "clientConnection": {"kubeconfig": Files::of(self.lab).kubeconfig_of(KUBE_PROXY)},
                // Of the whole machine; a node has none of its own to set.
                "conntrack": {"maxPerCore": 0},
                "oomScoreAdj": 0,
            }),
        )?;
        self.start(
            KUBE_PROXY,
            &format!("{PROGRAMS}/{KUBE_PROXY}"),
            &[format!("--config={}", config.display())],
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.place(&self.node.name).dir().join(name)
    }

    fn failure(&self, program: &str, why: String) -> Error {
        daemon::failed(
            &format!("{program} of {}", self.node.name),
            why,
            &log(self.lab, &self.node.name, program),
        )
    }
}

/// Where a program of a node writes.
pub fn log(lab: &LabName, node: &str, program: &str) -> PathBuf {
    lab.place(node).dir().join(format!("{program}.log"))
}

/// Makes a node's mount namespace and starts containerd in it; the process is in the state when this returns.
pub fn begin(state: &mut State, index: usize) -> Result<MountNs, Error> {
    let programs = state
        .kubernetes
        .as_ref()
        .map(|found| found.programs.clone());
    let node = state.nodes[index].clone();
    let space = space::make(&state.lab, &node, &programs.unwrap_or_default())?;
    // Every runtime before containerd 2.0 runs it in each pod; a distribution puts it there.
    let loopback = state.lab.place(&node.name).cni_bin().join("loopback");
    fs::copy("/usr/lib/cni/loopback", &loopback).map_err(file("write", &loopback))?;
    let lab = state.lab.clone();
    let kept = space.try_clone()?;
    let started = Inside::new(&lab, &node, space)?.containerd()?;
    note(state, index, CONTAINERD, started)?;
    Ok(kept)
}

/// Remembers a program of a node.
pub fn note(state: &mut State, index: usize, name: &str, process: Process) -> Result<(), Error> {
    state.nodes[index].programs.insert(name.to_owned(), process);
    state.save()
}

fn write(path: &Path, value: &Value) -> Result<(), Error> {
    // JSON is YAML.
    fs::write(path, format!("{value:#}\n")).map_err(file("write", path))
}

fn containerd_configuration() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{POD_IMAGE}"
  # Not every root may lower the score of a process.
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#
    )
}

fn kubelet_configuration(lab: &LabName, files: &Files, dns: &[String]) -> Value {
    let resolver = lab.resolv_conf();
    let resolver = if resolver.exists() {
        resolver
    } else {
        PathBuf::from("/dev/null")
    };
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": false}, "x509": {"clientCAFile": files.ca()},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": dns, "clusterDomain": "cluster.local", "resolvConf": resolver,
        "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [],
        "failSwapOn": false, "localStorageCapacityIsolation": false, "makeIPTablesUtilChains": false,
        "oomScoreAdj": 0,
        // How full the machine's disk is is not the nodes' business.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // What waits for a change is told soon: clusters here live for minutes.
        "syncFrequency": "10s", "nodeStatusUpdateFrequency": "5s",
    })
}
