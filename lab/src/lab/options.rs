//! What `weft-lab up` is told.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::name::is_label;

/// Most nodes a lab has; their addresses end before those of the external hosts.
pub const MAX_NODES: usize = 50;

/// Isolation mode of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everybody talks to everybody.
    Subnet,
    /// Projects are apart unless joined or global.
    Multitenant,
    /// Kubernetes NetworkPolicy.
    NetworkPolicy,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subnet => "subnet",
            Self::Multitenant => "multitenant",
            Self::NetworkPolicy => "networkpolicy",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Subnet, Self::Multitenant, Self::NetworkPolicy]
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| {
                format!("no mode {text:?}; there are subnet, multitenant and networkpolicy")
            })
    }
}

/// How much of Kubernetes a lab has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesMode {
    /// The API server alone, with etcd.
    Api,
    /// A whole cluster: each node has a container runtime, a kubelet and kube-proxy, and weft runs in pods.
    Cluster,
    /// The same without weft and its objects: the nodes are not ready until somebody installs a network.
    Bare,
}

/// A host outside the cluster: `NAME=ADDR[,ADDR...]`, each ADDR an address or a whole prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSpec {
    /// Its name, a DNS label.
    pub name: String,
    /// What it answers on; a single address is a prefix of full length.
    pub addrs: Vec<IpNet>,
}

impl FromStr for ExternalSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, addrs) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not NAME=ADDR[,ADDR...]"))?;
        if !is_label(name) || name.len() > 32 {
            return Err(format!(
                "{name:?} is no host name of at most 32 letters, digits, hyphens"
            ));
        }
        let addrs = addrs.split(',').map(address).collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            addrs,
        })
    }
}

fn address(text: &str) -> Result<IpNet, String> {
    if let Ok(single) = text.parse::<IpAddr>() {
        return Ok(single.into());
    }
    let prefix: IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is neither an address nor a prefix"))?;
    if prefix.addr() == prefix.network() {
        Ok(prefix)
    } else {
        Err(format!(
            "{text} has host bits set; the prefix is {}, the address {}",
            prefix.trunc(),
            prefix.addr()
        ))
    }
}

/// One range of pod addresses: `CIDR:BITS`, BITS being the host bits of a node's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRange {
    /// The range.
    pub cidr: IpNet,
    /// `hostSubnetLength`
    pub host_bits: u8,
}

impl FromStr for PodRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once(':').and_then(|(cidr, bits)| {
            Some(Self {
                cidr: cidr.parse().ok()?,
                host_bits: bits.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("{text:?} is not CIDR:BITS, as in 10.128.0.0/14:9"))
    }
}

/// What `weft-lab up` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// 1..=[`MAX_NODES`]
    pub nodes: usize,
    /// Isolation mode.
    pub mode: Mode,
    /// Hosts outside the cluster.
    pub externals: Vec<ExternalSpec>,
    /// Name servers of nodes and pods.
    pub dns: Vec<IpAddr>,
    /// YAML text merged into every agent's configuration.
    pub agent_config: Option<String>,
    /// No IPv6 in pods and services.
    pub ipv4_only: bool,
    /// Pod ranges in the place of the default ones.
    pub pod_ranges: Vec<PodRange>,
    /// Objects are kept on an API server in the place of a manifests directory.
    pub kubernetes: Option<KubernetesMode>,
    /// Folder of weft's custom resource definitions, where an API server wants them; default: `deploy/crds`.
    pub crds: Option<PathBuf>,
    /// Where `weft` and `weft-cni` are; default: `WEFT_BIN_DIR`, else beside this program.
    pub bin_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            mode: Mode::Multitenant,
            externals: Vec::new(),
            dns: Vec::new(),
            agent_config: None,
            ipv4_only: false,
            pod_ranges: Vec::new(),
            kubernetes: None,
            crds: None,
            bin_dir: None,
        }
    }
}

impl Options {
    /// Pod ranges with the defaults filled in, and the service networks: IPv4 first.
    pub fn networks(&self) -> (Vec<PodRange>, Vec<IpNet>) {
        let defaults = [
            ("10.128.0.0/14:9", "172.30.0.0/16"),
            ("fd01::/48:64", "fd02::/112"),
        ];
        let families = if self.ipv4_only { 1 } else { 2 };
        let (ranges, services): (Vec<_>, Vec<_>) = defaults
            .into_iter()
            .take(families)
            .filter_map(|(pods, services)| {
                Some((
                    pods.parse::<PodRange>().ok()?,
                    services.parse::<IpNet>().ok()?,
                ))
            })
            .unzip();
        if self.pod_ranges.is_empty() {
            (ranges, services)
        } else {
            (self.pod_ranges.clone(), services)
        }
    }
}
