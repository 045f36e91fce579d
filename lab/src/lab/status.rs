//! What a lab is and where everything of it is, for people and for other tools. The keys are fixed.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

use super::error::Error;
use super::name::netns_path;
use super::options::{KubernetesMode, Mode};
use super::plan::shown;
use super::process::Process;
use super::state::Phase;
use super::{Lab, LabName, cluster, kubernetes};

/// `weft-lab status -o json`
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Name.
    pub lab: LabName,
    /// False while `up` is at work, or after it was interrupted.
    pub ready: bool,
    /// Isolation mode at `up`.
    pub mode: Mode,
    /// The manifests directory; null if objects are kept on an API server.
    pub manifests: Option<PathBuf>,
    /// The API server; null if objects are kept in a manifests directory.
    pub kubernetes: Option<KubernetesStatus>,
    /// Null if it does not run.
    pub controller_pid: Option<i32>,
    /// Network namespace of the underlay, in which the controller runs.
    pub underlay_netns: PathBuf,
    /// In the order of their addresses.
    pub nodes: Vec<NodeStatus>,
    /// In the order they were asked for.
    pub externals: Vec<ExternalStatus>,
    /// In the order they were added.
    pub pods: Vec<PodStatus>,
}

/// The API server.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesStatus {
    /// How much of a cluster there is.
    pub mode: KubernetesMode,
    /// Of the administrator, the agents and the controller.
    pub kubeconfig: PathBuf,
    /// Where it listens, in the namespaces of the nodes and of the underlay.
    pub server: String,
    /// Null if it does not run.
    pub apiserver_pid: Option<i32>,
    /// Null if it does not run.
    pub etcd_pid: Option<i32>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name of its Node object.
    pub name: String,
    /// Network namespace.
    pub netns: PathBuf,
    /// Underlay address.
    pub ip: IpAddr,
    /// All underlay addresses, IPv4 and IPv6.
    pub ips: Vec<IpAddr>,
    /// Underlay interface inside the namespace.
    pub interface: &'static str,
    /// Pod subnets; empty until the controller has given it some, and while the API server does not answer.
    pub subnets: Vec<IpNet>,
    /// Null if it does not run.
    pub agent_pid: Option<i32>,
    /// The agent's configuration file.
    pub config: PathBuf,
    /// Where its sockets are.
    pub run_dir: PathBuf,
    /// What it keeps over a restart.
    pub state_dir: PathBuf,
    /// Where its maps and links are pinned.
    pub bpf_dir: PathBuf,
    /// `NETCONFPATH`
    pub cni_conf_dir: PathBuf,
    /// `CNI_PATH`
    pub cni_bin_dir: PathBuf,
    /// The agent's output.
    pub log: PathBuf,
}

/// A host outside the cluster.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalStatus {
    /// Name.
    pub name: String,
    /// Network namespace.
    pub netns: PathBuf,
    /// Addresses and prefixes as they were asked for.
    pub ips: Vec<String>,
    /// Its own addresses on the underlay.
    pub underlay_ips: Vec<IpAddr>,
}

/// A pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Project.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Node it is on.
    pub node: String,
    /// Network namespace.
    pub netns: PathBuf,
    /// Empty while it is being added.
    pub ips: Vec<IpAddr>,
    /// `CNI_CONTAINERID`
    pub container_id: String,
}

impl Lab {
    /// Everything other tools need to find.
    pub fn status(&self) -> Result<Status, Error> {
        let state = self.state()?;
        let pid = |process: Option<Process>| {
            process
                .filter(|process| process.is_alive())
                .map(|process| process.pid)
        };
        let kubernetes = state.kubernetes.as_ref().map(|servers| KubernetesStatus {
            mode: servers.mode,
            kubeconfig: kubernetes::Files::of(self.name()).kubeconfig(),
            server: kubernetes::server(),
            apiserver_pid: pid(servers.apiserver),
            etcd_pid: pid(servers.etcd),
        });
        let subnets = |node: &str| match cluster::subnets(self.objects(), node) {
            // All else is known without it.
            Err(_away) if kubernetes.is_some() => Ok(Vec::new()),
            found => found,
        };
        let nodes = state.nodes.iter().map(|node| {
            let place = self.name().place(&node.name);
            Ok(NodeStatus {
                name: node.name.clone(),
                netns: netns_path(&node.netns),
                ip: node.addresses[0],
                ips: node.addresses.to_vec(),
                interface: "eth0",
                subnets: subnets(&node.name)?,
                agent_pid: pid(node.agent),
                config: place.config(),
                run_dir: place.run(),
                state_dir: place.state(),
                bpf_dir: place.bpf(),
                cni_conf_dir: place.cni_conf(),
                cni_bin_dir: place.cni_bin(),
                log: place.log(),
            })
        });
        let nodes = nodes.collect::<Result<_, Error>>()?;
        let externals = state.externals.iter().map(|external| ExternalStatus {
            name: external.name.clone(),
            netns: netns_path(&external.netns),
            ips: external.addrs.iter().map(shown).collect(),
            underlay_ips: external.underlay.to_vec(),
        });
        let pods = state.pods.iter().map(|pod| PodStatus {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            node: pod.node.clone(),
            netns: netns_path(&pod.netns),
            ips: pod.ips.clone(),
            container_id: pod.container.clone(),
        });
        Ok(Status {
            lab: state.lab.clone(),
            ready: state.phase == Phase::Ready,
            mode: state.mode,
            manifests: kubernetes.is_none().then(|| self.name().manifests()),
            kubernetes,
            controller_pid: pid(state.controller),
            underlay_netns: netns_path(&state.underlay),
            nodes,
            externals: externals.collect(),
            pods: pods.collect(),
        })
    }
}
