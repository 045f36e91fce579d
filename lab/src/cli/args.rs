//! The command line.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use super::vm::VmCommand;
use crate::lab::objects::change::Change;
use crate::lab::{Action, ExternalSpec, KubernetesMode, LabName, Mode, PodRange};

/// A whole cluster on one machine: nodes, external hosts and pods are network namespaces, agents and controller are
/// the real ones. Needs root.
///
/// The environment variable WEFT_PATIENCE is a factor for all deadlines, for slow machines.
#[derive(Debug, Parser)]
#[command(name = "weft-lab", version)]
pub(super) struct Cli {
    /// Which lab; several may be up side by side [default: lab; demo and smoke for these commands]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) lab: Option<LabName>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the lab: underlay, external hosts, controller and an agent on each node
    Up(UpArgs),
    /// Write the objects of a file into the manifests directory, or to the API server
    Apply {
        /// YAML or JSON, several documents allowed; - is standard input
        #[arg(short, long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
    },
    /// Remove an object from the manifests directory, or from the API server
    Delete {
        /// As in the object's `kind`, in any case, singular or plural
        kind: String,
        /// The namespace is `default` if left out
        #[arg(value_name = "[NS/]NAME")]
        object: String,
    },
    /// Change an object by a JSON merge patch (RFC 7386), such as '{"netid": 5}'; null removes a field
    Patch {
        /// As in the object's `kind`, in any case, singular or plural
        kind: String,
        /// The namespace is `default` if left out
        #[arg(value_name = "[NS/]NAME")]
        object: String,
        #[arg(value_name = "JSON")]
        patch: serde_json::Value,
    },
    /// Set and remove annotations of an object, as with kubectl
    Annotate(AnnotateArgs),
    /// Set and remove labels of an object, as with kubectl
    Label(AnnotateArgs),
    /// Make a pod, through weft-cni
    AddPod {
        #[arg(value_name = "NS/NAME", value_parser = pod_name)]
        pod: PodName,
        /// Where it runs
        #[arg(long, default_value = "node1")]
        node: String,
        /// A label of the Pod object
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
        labels: Vec<(String, String)>,
        /// An annotation of the Pod object
        #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair)]
        annotations: Vec<(String, String)>,
    },
    /// Remove a pod, through weft-cni
    DelPod {
        #[arg(value_name = "NS/NAME", value_parser = pod_name)]
        pod: PodName,
    },
    /// Run a command inside a pod's network namespace
    Exec {
        #[arg(value_name = "NS/NAME", value_parser = pod_name)]
        pod: PodName,
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run a command on a node or an external host
    NodeExec {
        #[arg(value_name = "NODE")]
        host: String,
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Run the weft command line against one node's agent
    Weft {
        #[arg(long, default_value = "node1")]
        node: String,
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
    /// End or start one node's agent
    Agent {
        node: String,
        #[arg(value_enum)]
        action: ActionArg,
    },
    /// End or start the controller
    Controller {
        #[arg(value_enum)]
        action: ActionArg,
    },
    /// End or start the API server
    Api {
        #[arg(value_enum)]
        action: ActionArg,
    },
    /// Run kubectl against the lab's API server
    Kubectl {
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
    /// Where everything is
    Status {
        /// Output format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// End the lab and remove everything of it
    Down,
    /// Try everything once that weft does, on this machine's kernel: about ten seconds
    Smoke,
    /// Virtual machines with kernels of Debian, in which weft and its lab run
    #[command(subcommand)]
    Vm(VmCommand),
    /// Show isolation, joining and global projects on real connections
    Demo {
        /// As with `up`
        #[arg(long, value_enum, require_equals = true, value_name = "WHAT")]
        kubernetes: Option<KubernetesArg>,
    },
    /// Write what a cluster on machines of their own starts with, as vagrant/ does: credentials, images, programs
    ///
    /// Credentials that are there stay as they are, since running machines know no others.
    #[command(hide = true)]
    MachineFiles {
        /// Address of the API server
        #[arg(long, value_name = "ADDR")]
        server: IpAddr,
        /// A range of services
        #[arg(long = "service", value_name = "CIDR", required = true)]
        services: Vec<IpNet>,
        /// A node's name
        #[arg(long = "node", value_name = "NAME", required = true)]
        nodes: Vec<String>,
        /// Made if it is not there
        folder: PathBuf,
    },
    /// A server that tells each client the address it came from
    #[command(hide = true)]
    Serve {
        #[arg(value_name = "ADDR:PORT")]
        address: SocketAddr,
        /// What it says before the address
        #[arg(long, default_value = "weft-lab")]
        name: String,
    },
    /// Connect to a `serve` and print what it says
    #[command(hide = true)]
    Probe {
        #[arg(value_name = "ADDR:PORT")]
        address: SocketAddr,
        /// Milliseconds until the connection counts as refused
        #[arg(long, default_value_t = 1000)]
        deadline: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct AnnotateArgs {
    /// As in the object's `kind`, in any case, singular or plural
    pub(super) kind: String,
    /// The namespace is `default` if left out
    #[arg(value_name = "[NS/]NAME")]
    pub(super) object: String,
    /// KEY=VALUE sets, KEY- removes
    #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
    pub(super) changes: Vec<Change>,
    /// Replace values that are there
    #[arg(long)]
    pub(super) overwrite: bool,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// How many nodes
    #[arg(long, default_value_t = 2)]
    pub(super) nodes: usize,
    /// subnet, multitenant or networkpolicy
    #[arg(long, default_value_t = Mode::Multitenant)]
    pub(super) mode: Mode,
    /// A host outside the cluster; ADDR is an address, or a prefix all addresses of which it answers on
    #[arg(long = "external", value_name = "NAME=ADDR[,ADDR...]")]
    pub(super) externals: Vec<ExternalSpec>,
    /// A name server of agents and pods
    #[arg(long, value_name = "ADDR")]
    pub(super) dns: Vec<IpAddr>,
    /// YAML merged into every agent's configuration
    #[arg(long, value_name = "FILE")]
    pub(super) agent_config: Option<PathBuf>,
    /// No IPv6 in pods
    #[arg(long)]
    pub(super) ipv4_only: bool,
    /// Pod ranges in the place of 10.128.0.0/14:9 and fd01::/48:64
    #[arg(long = "cluster-network", value_name = "CIDR:BITS")]
    pub(super) pod_ranges: Vec<PodRange>,
    /// Keep the objects on a Kubernetes API server in the place of the manifests directory; alone: a whole cluster
    #[arg(long, value_enum, require_equals = true, num_args = 0..=1, default_missing_value = "cluster", value_name = "WHAT")]
    pub(super) kubernetes: Option<KubernetesArg>,
    /// Folder of weft's custom resource definitions for the API server [default: deploy/crds of the source tree]
    #[arg(long, value_name = "DIR", requires = "kubernetes")]
    pub(super) crds: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum KubernetesArg {
    /// The API server alone; pods are the lab's, agents and controller its processes
    Api,
    /// A whole cluster: kubelets and containers, with weft in pods
    Cluster,
    /// The same without weft, to try its installation: nodes stay `NotReady` until somebody installs a network
    Bare,
}

impl From<KubernetesArg> for KubernetesMode {
    fn from(argument: KubernetesArg) -> Self {
        match argument {
            KubernetesArg::Api => Self::Api,
            KubernetesArg::Cluster => Self::Cluster,
            KubernetesArg::Bare => Self::Bare,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ActionArg {
    /// SIGTERM, and wait for the end
    Stop,
    /// SIGKILL
    Kill,
    /// Start, and wait until it answers
    Start,
}

impl From<ActionArg> for Action {
    fn from(action: ActionArg) -> Self {
        match action {
            ActionArg::Stop => Self::Stop,
            ActionArg::Kill => Self::Kill,
            ActionArg::Start => Self::Start,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Clone, Debug)]
pub(super) struct PodName {
    pub(super) namespace: String,
    pub(super) name: String,
}

fn pod_name(text: &str) -> Result<PodName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(PodName {
            namespace: namespace.into(),
            name: name.into(),
        }),
        _ => Err("not NS/NAME".into()),
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "not KEY=VALUE".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
