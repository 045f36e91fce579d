//! Environment and standard input -> request. Pure, so that hostile input can be tested without a plugin process.

use std::ffi::OsString;

use serde_json::Value;
use weft_core::model::EndpointId;

use super::identity::{Attachment, PodRef, quoted};
use super::netconf::{Bandwidth, NetConf};
use super::spec::{CniError, Command, SpecVersion, code};

/// What a runtime asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Attach a pod.
    Add {
        /// The attachment.
        attachment: Attachment,
        /// CNI_NETNS
        netns: String,
        /// From CNI_ARGS.
        pod: PodRef,
        /// Limits asked for.
        bandwidth: Option<Bandwidth>,
    },
    /// Detach it.
    Del {
        /// The attachment.
        attachment: Attachment,
    },
    /// Compare it with what was made.
    Check {
        /// The attachment.
        attachment: Attachment,
        /// CNI_NETNS
        netns: String,
        /// What ADD returned.
        prev_result: Value,
    },
    /// Remove what is not in the list.
    Gc {
        /// What shall stay.
        valid: Vec<EndpointId>,
    },
    /// Can ADD be served?
    Status,
    /// Known versions; the agent is not asked.
    Version,
}

/// CNI_ARGS longer than this is no pod's.
const ARGS_MAX: usize = 8192;

/// The CNI environment variables, as the process has them. A variable that is set to nothing counts as missing.
pub struct Environment<F>(pub F);

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    fn get(&self, name: &str) -> Result<Option<String>, CniError> {
        let Some(value) = (self.0)(name).filter(|v| !v.is_empty()) else {
            return Ok(None);
        };
        value
            .into_string()
            .map(Some)
            .map_err(|_| invalid(format!("{name} is no UTF-8 text")))
    }

    fn require(&self, name: &str, what: &str) -> Result<String, CniError> {
        self.get(name)?.ok_or_else(|| {
            invalid(format!(
                "{name} is missing or empty; the runtime must set it to {what}"
            ))
        })
    }

    /// CNI_COMMAND.
    pub fn command(&self) -> Result<Command, CniError> {
        let all = Command::ALL.map(Command::as_str).join(", ");
        let text = self.require("CNI_COMMAND", &format!("one of {all}"))?;
        Command::ALL
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| invalid(format!("CNI_COMMAND={} is none of {all}", quoted(&text))))
    }

    fn attachment(&self) -> Result<Attachment, CniError> {
        let id = EndpointId {
            container: self.require("CNI_CONTAINERID", "the sandbox's id")?,
            ifname: self.require("CNI_IFNAME", "the interface's name, for example eth0")?,
        };
        super::identity::check_container(&id.container)
            .map_err(|e| invalid(format!("CNI_CONTAINERID: {e}")))?;
        Attachment::try_from(id).map_err(|e| invalid(format!("CNI_IFNAME: {e}")))
    }

    fn netns(&self) -> Result<String, CniError> {
        self.require("CNI_NETNS", "the path of the pod's network namespace")
    }

    /// The pod that CNI_ARGS names. `configured` is the project for when they name none.
    fn pod(&self, configured: Option<&str>) -> Result<PodRef, CniError> {
        let args = match configured {
            None => self.require("CNI_ARGS", "K8S_POD_NAMESPACE=...;K8S_POD_NAME=...")?,
            Some(_) => self.get("CNI_ARGS")?.unwrap_or_default(),
        };
        match (named(&args)?, configured) {
            ((Some(namespace), Some(name)), _) => PodRef::new(namespace, name),
            ((None, Some(name)), Some(namespace)) => PodRef::of_container(namespace, name),
            ((None, None), Some(namespace)) => {
                let id = self.require("CNI_CONTAINERID", "the sandbox's id")?;
                PodRef::of_container(namespace, id.get(..12).unwrap_or(&id))
            }
            ((None, _), None) => {
                return Err(args_invalid(
                    "K8S_POD_NAMESPACE is missing; the runtime must name the pod, or the network configuration the \
                     project of all its containers, as \"namespace\"",
                ));
            }
            ((Some(_), None), _) => {
                return Err(args_invalid(
                    "K8S_POD_NAME is missing; the runtime must name the pod",
                ));
            }
        }
        .map_err(|e| args_invalid(&e.to_string()))
    }

    /// Reads the request that `conf` and the environment make up.
    pub fn request(&self, command: Command, conf: &NetConf) -> Result<Request, CniError> {
        if conf.version < command.since() {
            return Err(CniError::new(
                code::INCOMPATIBLE_VERSION,
                format!(
                    "{} needs cniVersion {} or newer; the network configuration {:?} says {}",
                    command.as_str(),
                    command.since(),
                    conf.network,
                    conf.version
                ),
            ));
        }
        Ok(match command {
            Command::Add => Request::Add {
                attachment: self.attachment()?,
                netns: self.netns()?,
                pod: self.pod(conf.namespace.as_deref())?,
                bandwidth: conf.bandwidth,
            },
            // The namespace may be gone and the pod's name forgotten: neither is needed.
            Command::Del => Request::Del {
                attachment: self.attachment()?,
            },
            Command::Check => Request::Check {
                attachment: self.attachment()?,
                netns: self.netns()?,
                prev_result: conf.prev_result.clone().ok_or_else(|| {
                    CniError::new(
                        code::INVALID_CONFIG,
                        "prevResult of the network configuration is missing; CHECK needs what ADD returned",
                    )
                })?,
            },
            Command::Gc => Request::Gc {
                valid: conf.valid_attachments.clone().ok_or_else(|| {
                    CniError::new(
                        code::INVALID_CONFIG,
                        "cni.dev/valid-attachments of the network configuration is missing; GC without it would \
                         detach every pod, an empty list says so explicitly",
                    )
                })?,
            },
            Command::Status => Request::Status,
            Command::Version => Request::Version,
        })
    }
}

fn invalid(msg: String) -> CniError {
    CniError::new(code::INVALID_ENVIRONMENT, msg)
}

fn args_invalid(problem: &str) -> CniError {
    invalid(format!("CNI_ARGS: {problem}"))
}

/// Namespace and name in CNI_ARGS: `KEY=VALUE;KEY=VALUE`, keys that are not ours ignored.
fn named(args: &str) -> Result<(Option<&str>, Option<&str>), CniError> {
    if args.len() > ARGS_MAX {
        let problem = format!("{} bytes, more than {ARGS_MAX}", args.len());
        return Err(args_invalid(&problem));
    }
    let (mut namespace, mut name) = (None, None);
    for pair in args.split_terminator(';') {
        let Some((key, value)) = pair.split_once('=').filter(|(_, v)| !v.contains('=')) else {
            return Err(args_invalid(&format!("{} is not KEY=VALUE", quoted(pair))));
        };
        let slot = match key {
            "K8S_POD_NAMESPACE" => &mut namespace,
            "K8S_POD_NAME" => &mut name,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(args_invalid(&format!("{key} stands in it twice")));
        }
    }
    Ok((namespace, name))
}

/// The result of VERSION. `asked` is the version on standard input, which older runtimes do not send.
pub fn version_result(asked: Option<SpecVersion>) -> Value {
    serde_json::json!({
        "cniVersion": asked.unwrap_or(SpecVersion::CURRENT).as_str(),
        "supportedVersions": SpecVersion::ALL.map(SpecVersion::as_str),
    })
}
