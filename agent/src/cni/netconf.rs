//! The network configuration on standard input.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_core::model::EndpointId;

use super::spec::{CniError, SpecVersion, code};

/// Where the agent's socket is when the configuration does not say.
pub const DEFAULT_RUN_DIR: &str = "/run/weft";
/// Length of a network's name, far above any real one.
const NETWORK_NAME_MAX: usize = 128;

/// `runtimeConfig.bandwidth`, as the capability `bandwidth` defines it: bits and bits per second, 0 for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bandwidth {
    /// Rate towards the pod.
    pub ingress_rate: u64,
    /// Burst towards the pod.
    pub ingress_burst: u64,
    /// Rate from the pod.
    pub egress_rate: u64,
    /// Burst from the pod.
    pub egress_burst: u64,
}

impl Bandwidth {
    /// Nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        self.ingress_rate == 0 && self.egress_rate == 0
    }
}

/// The configuration as it is written. Unknown keys belong to the runtime or to other plugins of a chain.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    cni_version: Option<String>,
    name: Option<String>,
    run_dir: Option<PathBuf>,
    namespace: Option<String>,
    runtime_config: RuntimeConfig,
    ipam: Option<Value>,
    prev_result: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<ValidAttachment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    bandwidth: Option<Bandwidth>,
}

#[derive(Debug, Deserialize)]
struct ValidAttachment {
    #[serde(rename = "containerID")]
    container: String,
    ifname: String,
}

/// The configuration, valid.
#[derive(Clone, Debug, PartialEq)]
pub struct NetConf {
    /// Version that results and errors are written in.
    pub version: SpecVersion,
    /// Name of the network: GC is for the attachments of one network.
    pub network: String,
    /// Directory of the agent's socket.
    pub run_dir: PathBuf,
    /// The project of containers whose runtime names none: runtimes that know nothing of pods have a network for each.
    pub namespace: Option<String>,
    /// Limits the runtime asks for.
    pub bandwidth: Option<Bandwidth>,
    /// CHECK: what ADD returned.
    pub prev_result: Option<Value>,
    /// GC: the attachments that shall stay. None if the key is absent, which must not be taken for "none shall stay".
    pub valid_attachments: Option<Vec<EndpointId>>,
}

impl NetConf {
    /// Parses standard input.
    pub fn parse(text: &[u8]) -> Result<Self, (SpecVersion, CniError)> {
        // The version first: an error about anything else is already printed in it.
        let value: Value = serde_json::from_slice(text).map_err(|e| {
            let msg = format!("network configuration on standard input is no JSON: {e}");
            (
                SpecVersion::CURRENT,
                CniError::new(code::DECODING_FAILURE, msg),
            )
        })?;
        if !value.is_object() {
            let msg = "network configuration on standard input is no JSON object";
            return Err((
                SpecVersion::CURRENT,
                CniError::new(code::DECODING_FAILURE, msg),
            ));
        }
        let version = match value.get("cniVersion") {
            None | Some(Value::Null) => SpecVersion::of_config(None),
            Some(Value::String(text)) => SpecVersion::of_config(Some(text)),
            Some(other) => Err(CniError::new(
                code::DECODING_FAILURE,
                format!("cniVersion of the network configuration must be a string, not {other}"),
            )),
        }
        .map_err(|e| (SpecVersion::CURRENT, e))?;
        Self::of_value(value, version).map_err(|e| (version, e))
    }

    fn of_value(value: Value, version: SpecVersion) -> Result<Self, CniError> {
        let written: Written = serde_path_to_error::deserialize(value).map_err(|e| {
            CniError::new(
                code::DECODING_FAILURE,
                format!(
                    "network configuration on standard input, at {}: {}",
                    e.path(),
                    e.inner()
                ),
            )
        })?;
        let invalid = |msg: String| CniError::new(code::INVALID_CONFIG, msg);
        let network = written.name.unwrap_or_default();
        if !is_network_name(&network) {
            return Err(invalid(format!(
                "name {} of the network configuration: it must start with a letter or digit and consist of letters, \
                 digits, '_', '.' and '-', for example \"weft\"",
                super::identity::quoted(&network)
            )));
        }
        let run_dir = written.run_dir.unwrap_or_else(|| DEFAULT_RUN_DIR.into());
        if !run_dir.is_absolute() {
            return Err(invalid(format!(
                "runDir {} of the network configuration must be an absolute path: the agent's runDir",
                run_dir.display()
            )));
        }
        if let Some(namespace) = written
            .namespace
            .as_deref()
            .filter(|it| !super::identity::is_namespace(it))
        {
            return Err(invalid(format!(
                "namespace {} of the network configuration: at most 63 lower-case letters, digits and '-', a letter or \
                 digit at both ends",
                super::identity::quoted(namespace)
            )));
        }
        if let Some(ipam) = written
            .ipam
            .filter(|v| v.as_object().is_none_or(|o| !o.is_empty()))
        {
            return Err(CniError::new(
                code::UNSUPPORTED_FIELD,
                format!(
                    "ipam {ipam} of the network configuration: weft takes addresses from the node's HostSubnet; remove \
                     the key"
                ),
            ));
        }
        Ok(Self {
            version,
            network,
            run_dir,
            namespace: written.namespace,
            bandwidth: written
                .runtime_config
                .bandwidth
                .filter(|b| !b.is_unlimited()),
            prev_result: written.prev_result,
            valid_attachments: written.valid_attachments.map(|list| {
                list.into_iter()
                    .map(|a| EndpointId {
                        container: a.container,
                        ifname: a.ifname,
                    })
                    .collect()
            }),
        })
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        socket_path(&self.run_dir)
    }
}

/// The CNI socket in a run directory.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("cni.sock")
}

/// The specification's rule for `name`, and a limit.
pub fn is_network_name(name: &str) -> bool {
    name.len() <= NETWORK_NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}
