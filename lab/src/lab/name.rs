//! The lab's name, and every path and namespace name that follows from it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// Where labs keep their files.
pub const ROOT: &str = "/run/weft-lab";
/// Where namespaces have their names, as `ip netns` has them.
pub const NETNS: &str = "/run/netns";

/// A lab's name: lower-case letters, digits and inner hyphens, at most 32, so that a socket path below
/// [`LabName::dir`] stays under the kernel's 108 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    /// `/run/weft-lab/NAME`
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(ROOT).join(&self.0)
    }

    /// Held while the lab's state changes. Beside [`LabName::dir`], which comes and goes under the lock.
    pub fn lock(&self) -> PathBuf {
        PathBuf::from(ROOT).join(format!("{}.lock", self.0))
    }

    /// What the lab knows about itself between two commands.
    pub fn state(&self) -> PathBuf {
        self.dir().join("state.json")
    }

    /// API objects, shared by the controller and every agent.
    pub fn manifests(&self) -> PathBuf {
        self.dir().join("manifests")
    }

    /// The resolver file of nodes and pods, when the lab has name servers.
    pub fn resolv_conf(&self) -> PathBuf {
        self.dir().join("resolv.conf")
    }

    /// A node's files; the controller has a place of the same shape.
    pub fn place(&self, name: &str) -> Place {
        Place(self.dir().join(name))
    }

    /// The namespace of a node, an external host or the underlay (`net`).
    pub fn netns(&self, part: &str) -> String {
        format!("weft-{}-{part}", self.0)
    }
}

/// The file of a namespace name.
pub fn netns_path(name: &str) -> PathBuf {
    PathBuf::from(NETNS).join(name)
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if is_label(name) && name.len() <= 32 {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::Invalid(format!(
                "lab name {name:?}: at most 32 lower-case letters, digits and inner hyphens"
            )))
        }
    }
}

impl TryFrom<String> for LabName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

/// RFC 1123 label, as Kubernetes asks of namespaces.
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 subdomain, as Kubernetes asks of most other names. Shorter than there: a namespace name is made of it,
/// and file names end at 255 bytes.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 150 && text.split('.').all(is_label)
}

/// The files of one agent or of the controller.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// The directory that holds all the others.
    pub fn dir(&self) -> PathBuf {
        self.0.clone()
    }

    /// The daemon's configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.yaml")
    }

    /// Its sockets.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// What it keeps over a restart.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// A BPF file system of its own.
    pub fn bpf_mount(&self) -> PathBuf {
        self.0.join("bpf")
    }

    /// Below the mount, as `/sys/fs/bpf/weft` is on a real node.
    pub fn bpf(&self) -> PathBuf {
        self.bpf_mount().join("weft")
    }

    /// Its standard output and error, appended over restarts.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// What a container runtime calls `NETCONFPATH`.
    pub fn cni_conf(&self) -> PathBuf {
        self.0.join("cni/conf")
    }

    /// What a container runtime calls `CNI_PATH`.
    pub fn cni_bin(&self) -> PathBuf {
        self.0.join("cni/bin")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", "a/b", "..", "A", "-a", "a-", "a.b", &"a".repeat(33)] {
            assert!(name.parse::<LabName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_longest_name_leaves_room_for_a_socket() {
        let name: LabName = "a".repeat(32).parse().unwrap();
        let socket = name.place("node99").run().join("agent.sock");
        assert!(socket.as_os_str().len() < 108, "{}", socket.display());
    }
}
