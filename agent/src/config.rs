//! The configuration file: YAML, every key optional, unknown keys refused, flags override.

mod dns;
mod source;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weft_core::model::{Conflicts, check_name};

pub use dns::DnsConfig;
pub use source::{Access, DEFAULT_MANIFESTS, Source, SourceArgs};
use source::{Fallback, SourceKeys, Surroundings, source};

/// The namespace that weft runs in, unless it is told another one.
pub const HOME: &str = "weft";

/// Configuration of `weft agent` and `weft controller`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node's Node and HostSubnet objects; by default the host name in lower case.
    pub node_name: String,
    /// Underlay address; by default an address of `node_interface`.
    pub node_ip: Option<IpAddr>,
    /// Underlay interface; by default that of the default route.
    pub node_interface: Option<String>,
    /// Where API objects come from.
    pub source: Source,
    /// Directory of the sockets.
    pub run_dir: PathBuf,
    /// Directory of what survives a reboot.
    pub state_dir: PathBuf,
    /// Directory on bpffs that holds the pins.
    pub bpf_dir: PathBuf,
    /// How the names of policies are resolved.
    pub dns: DnsConfig,
    /// What becomes of egress policies in global and joined projects.
    pub egress_policy_conflicts: Conflicts,
    /// Namespace of the Lease by which controllers on an API server agree which of them is active.
    pub lease_namespace: String,
    /// Where figures and probes are served over TCP; nowhere without it.
    pub metrics_address: Option<SocketAddr>,
}

/// Flags that name the configuration file and override it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file (YAML); built-in defaults without it
    #[arg(long, value_name = "FILE", env = "WEFT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of this node [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address of this node in the underlay [default: an address of the node interface]
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
    /// Interface of this node in the underlay [default: that of the default route]
    #[arg(long, value_name = "NAME")]
    pub node_interface: Option<String>,
    /// Where the API objects are
    #[command(flatten)]
    pub source: SourceArgs,
    /// Directory of the sockets [default: /run/weft]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Directory of state that survives a reboot [default: /var/lib/weft]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory on bpffs for maps and links [default: /sys/fs/bpf/weft]
    #[arg(long, value_name = "DIR")]
    pub bpf_dir: Option<PathBuf>,
    /// Address and port of figures and probes over TCP, such as 127.0.0.1:9618 [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<SocketAddr>,
}

/// Flags of commands that only need to know where the API objects are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreArgs {
    /// Configuration file (YAML); built-in defaults without it
    #[arg(long, value_name = "FILE", env = "WEFT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the API objects are
    #[command(flatten)]
    pub source: SourceArgs,
}

impl StoreArgs {
    /// Reads the configuration.
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load_or(&self.config_args(), Fallback::Manifests)
    }

    /// As [`StoreArgs::load`]; where no source is configured, the API server that kubectl would talk to.
    pub fn load_as_kubectl(&self) -> Result<Config, ConfigError> {
        Config::load_or(&self.config_args(), Fallback::AsKubectl)
    }

    fn config_args(&self) -> ConfigArgs {
        ConfigArgs {
            config: self.config.clone(),
            source: self.source.clone(),
            ..ConfigArgs::default()
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no YAML, or a key is unknown or has the wrong type.
    #[error("configuration {}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        reason: String,
    },
    /// A value is not usable.
    #[error("configuration: {key}: {reason}")]
    Value {
        /// The key as the file spells it.
        key: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    node_name: Option<String>,
    #[serde(rename = "nodeIP")]
    node_ip: Option<IpAddr>,
    node_interface: Option<String>,
    source: Option<SourceKeys>,
    run_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    bpf_dir: Option<PathBuf>,
    dns: Option<dns::DnsKeys>,
    egress_policy_conflicts: Option<Conflicts>,
    lease_namespace: Option<String>,
    metrics_address: Option<SocketAddr>,
}

impl Config {
    /// Reads the file, if one is named, and lets the flags override it.
    pub fn load(args: &ConfigArgs) -> Result<Self, ConfigError> {
        Self::load_or(args, Fallback::Manifests)
    }

    fn load_or(args: &ConfigArgs, fallback: Fallback) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::resolve(args, file, fallback)
    }

    fn resolve(args: &ConfigArgs, file: File, fallback: Fallback) -> Result<Self, ConfigError> {
        let kubeconfig = std::env::var_os("KUBECONFIG");
        let home = std::env::home_dir();
        let around = Surroundings {
            kubeconfig: kubeconfig.as_deref(),
            home: home.as_deref(),
            in_cluster: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        };
        let pick = |flag: &Option<PathBuf>, key: Option<PathBuf>, default: &str| {
            flag.clone().or(key).unwrap_or_else(|| default.into())
        };
        let config = Self {
            node_name: match args.node_name.clone().or(file.node_name) {
                Some(name) => name,
                None => host_name()?,
            },
            node_ip: args.node_ip.or(file.node_ip),
            node_interface: args.node_interface.clone().or(file.node_interface),
            source: source(&args.source, file.source, fallback, &around)?,
            run_dir: pick(&args.run_dir, file.run_dir, "/run/weft"),
            state_dir: pick(&args.state_dir, file.state_dir, "/var/lib/weft"),
            bpf_dir: pick(&args.bpf_dir, file.bpf_dir, "/sys/fs/bpf/weft"),
            dns: DnsConfig::resolve(file.dns)?,
            egress_policy_conflicts: file.egress_policy_conflicts.unwrap_or_default(),
            lease_namespace: file.lease_namespace.unwrap_or_else(|| HOME.into()),
            metrics_address: args.metrics_address.or(file.metrics_address),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_name(&self.node_name).map_err(|reason| ConfigError::Value {
            key: "nodeName",
            reason,
        })?;
        check_name(&self.lease_namespace).map_err(|reason| ConfigError::Value {
            key: "leaseNamespace",
            reason,
        })?;
        let manifests = match &self.source {
            Source::Manifests(dir) => Some(("source.manifests", dir)),
            Source::Kubernetes(_) => None,
        };
        let dirs = [
            ("runDir", &self.run_dir),
            ("stateDir", &self.state_dir),
            ("bpfDir", &self.bpf_dir),
        ];
        for (key, dir) in manifests.into_iter().chain(dirs) {
            if dir.as_os_str().is_empty() {
                let reason = "is empty: name a directory or leave the key out".into();
                return Err(ConfigError::Value { key, reason });
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.into(),
        source,
    })?;
    parse(&text).map_err(|reason| ConfigError::Parse {
        path: path.into(),
        reason,
    })
}

fn parse(text: &str) -> Result<File, String> {
    let document = yaml_serde::Deserializer::from_str(text);
    // An empty file, or one of comments only, is a null document.
    let file: Option<File> =
        serde_path_to_error::deserialize(document).map_err(|e| e.to_string())?;
    Ok(file.unwrap_or_default())
}

fn host_name() -> Result<String, ConfigError> {
    let reason = match nix::unistd::gethostname() {
        Ok(name) => match name.into_string() {
            Ok(name) => return Ok(name.to_lowercase()),
            Err(_) => "the host name is no text".into(),
        },
        Err(errno) => format!("read the host name: {errno}"),
    };
    Err(ConfigError::Value {
        key: "nodeName",
        reason: format!("{reason}: set nodeName"),
    })
}

#[cfg(test)]
mod tests;
