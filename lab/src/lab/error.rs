//! What can go wrong in a lab.

use std::io;
use std::path::{Path, PathBuf};

use super::name::LabName;

/// A lab command failed. Messages are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Refused before anything was done.
    #[error("{0}")]
    Invalid(String),
    /// A file could not be read, written, mounted or removed.
    #[error("{call} {}: {source}", path.display())]
    File {
        /// What was tried.
        call: &'static str,
        /// On which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The network could not be set up as planned.
    #[error("ip -batch in {netns}: {stderr}")]
    Ip {
        /// The namespace's name.
        netns: String,
        /// What `ip` said.
        stderr: String,
    },
    /// A namespace could not be made, entered or removed.
    #[error(transparent)]
    Namespace(#[from] weft_netns::Error),
    /// A sysctl could not be written.
    #[error("in {netns}: {source}")]
    Sysctl {
        /// The namespace's name.
        netns: String,
        /// Which one, and the kernel's answer.
        source: weft_netns::sysctl::Error,
    },
    /// Something with this name is there and is not the lab's.
    #[error("network namespace {0} exists and belongs to no lab; `ip netns delete {0}` removes it")]
    Foreign(String),
    /// The lab is there and at work.
    #[error("lab {0} is up; `weft-lab down --lab {0}` ends it")]
    Up(LabName),
    /// There is no such lab.
    #[error("lab {0} is not up; `weft-lab up --lab {0}` makes it")]
    Down(LabName),
    /// An `up` was interrupted, or is at work now.
    #[error(
        "lab {0} is half made; wait for its `weft-lab up`, or clean it with `weft-lab down --lab {0}`"
    )]
    HalfMade(LabName),
    /// Another command holds the lock for longer than a command usually does.
    #[error("lab {0} is busy: another `weft-lab up` or `down` is at work on it")]
    Busy(LabName),
    /// The lab's own file is damaged.
    #[error("{}: {source}; the lab's namespaces are named weft-{lab}-*", path.display())]
    State {
        /// The lab.
        lab: LabName,
        /// The file.
        path: PathBuf,
        /// Where it does not parse.
        source: serde_json::Error,
    },
    /// No binary to run.
    #[error("{} is not there; `make build` makes it, WEFT_BIN_DIR names another directory", .0.display())]
    Binary(PathBuf),
    /// A program of Kubernetes is missing.
    #[error("{} is not there; `make kubernetes` builds it, WEFT_KUBERNETES names another directory", .0.display())]
    Kubernetes(PathBuf),
    /// A daemon did not do what was asked of it.
    #[error("{name}: {why}{}", tail(log))]
    Daemon {
        /// Node name, or `controller`.
        name: String,
        /// What is wrong.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// The CNI plugin refused.
    #[error("weft-cni {command} for pod {pod} on {node}: {why}")]
    Cni {
        /// ADD or DEL.
        command: &'static str,
        /// NAMESPACE/NAME
        pod: String,
        /// Node name.
        node: String,
        /// The plugin's own message.
        why: String,
    },
    /// An API object could not be read or written.
    #[error(transparent)]
    Object(#[from] super::objects::Error),
    /// The caller's cancellation came first.
    #[error("interrupted")]
    Interrupted,
    /// Parts of a lab are still there; each line is one of them.
    #[error("lab {lab} is not wholly removed, run `weft-lab down --lab {lab}` again:\n{}", left.join("\n"))]
    Left {
        /// The lab.
        lab: LabName,
        /// What, and why.
        left: Vec<String>,
    },
}

fn tail(log: &str) -> String {
    if log.is_empty() {
        "; its log is empty".to_owned()
    } else {
        format!("; the end of its log:\n{log}")
    }
}

/// For `map_err`: names the call and the file.
pub(crate) fn file(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { call, path, source }
}
