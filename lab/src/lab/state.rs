//! What a lab remembers between commands: written before a thing is made, so that nothing made is ever unknown.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::{Error, file};
use super::name::{LabName, ROOT};
use super::options::{KubernetesMode, Mode};
use super::process::Process;

/// How far `up` got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// `up` has not ended, or never will.
    Making,
    /// Every agent answered.
    Ready,
}

/// The whole lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Its name.
    pub lab: LabName,
    /// How far it is made.
    pub phase: Phase,
    /// The kernel's boot id: process ids of another boot mean nothing.
    pub boot: String,
    /// Isolation mode.
    pub mode: Mode,
    /// Where `weft` and `weft-cni` were at `up`.
    pub bin_dir: PathBuf,
    /// Name of the underlay's namespace, in which the controller runs.
    pub underlay: String,
    /// The controller, unless it was ended on purpose.
    pub controller: Option<Process>,
    /// The API server, if the lab keeps its objects there.
    #[serde(default)]
    pub kubernetes: Option<Kubernetes>,
    /// In the order of their addresses.
    pub nodes: Vec<Node>,
    /// In the order they were asked for.
    pub externals: Vec<External>,
    /// In the order they were added.
    pub pods: Vec<Pod>,
}

/// The API server and what it needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kubernetes {
    /// How much of a cluster there is.
    pub mode: KubernetesMode,
    /// Where the programs were at `up`.
    pub programs: PathBuf,
    /// Ranges of service addresses, IPv4 first.
    pub services: Vec<IpNet>,
    /// Keeps what the API server knows.
    pub etcd: Option<Process>,
    /// The API server, unless it was ended on purpose.
    pub apiserver: Option<Process>,
    /// The other parts of a control plane, by name.
    #[serde(default)]
    pub plane: BTreeMap<String, Process>,
}

/// A node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// Name of its Node object.
    pub name: String,
    /// Namespace name under `/run/netns`.
    pub netns: String,
    /// IPv4 and IPv6 address of its eth0.
    pub addresses: [IpAddr; 2],
    /// Its agent, unless it was ended on purpose.
    pub agent: Option<Process>,
    /// What of Kubernetes runs there, by name.
    #[serde(default)]
    pub programs: BTreeMap<String, Process>,
}

/// A host outside the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct External {
    /// Its name.
    pub name: String,
    /// Namespace name under `/run/netns`.
    pub netns: String,
    /// IPv4 and IPv6 address of its eth0, the next hop towards `addrs`.
    pub underlay: [IpAddr; 2],
    /// What it answers on.
    pub addrs: Vec<IpNet>,
}

/// A pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// Its project.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Node it is on.
    pub node: String,
    /// Namespace name under `/run/netns`.
    pub netns: String,
    /// `CNI_CONTAINERID`
    pub container: String,
    /// From the CNI result; empty until ADD succeeded.
    pub ips: Vec<IpAddr>,
    /// `metadata.uid` of its object.
    pub uid: String,
    /// The CNI result, which DEL is given back.
    pub result: Option<serde_json::Value>,
}

impl State {
    /// Reads the state; `None` if there is no lab. Another boot's processes are forgotten.
    pub fn load(lab: &LabName) -> Result<Option<Self>, Error> {
        let path = lab.state();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file("read", &path)(error)),
        };
        let mut state: Self = serde_json::from_slice(&text).map_err(|source| Error::State {
            lab: lab.clone(),
            path,
            source,
        })?;
        if state.boot != boot_id()? {
            state.controller = None;
            for node in &mut state.nodes {
                node.agent = None;
                node.programs.clear();
            }
            if let Some(kubernetes) = &mut state.kubernetes {
                kubernetes.plane.clear();
                (kubernetes.etcd, kubernetes.apiserver) = (None, None);
            }
            state.phase = Phase::Making;
        }
        Ok(Some(state))
    }

    /// Writes the state in the place of the old one, whole or not at all. The caller holds the lock.
    pub fn save(&self) -> Result<(), Error> {
        let path = self.lab.state();
        let text = serde_json::to_vec_pretty(self).map_err(|source| Error::State {
            lab: self.lab.clone(),
            path: path.clone(),
            source,
        })?;
        write_atomic(&path, &text)
    }

    /// Every process that should run.
    pub fn daemons(&self) -> impl Iterator<Item = Option<Process>> {
        let servers = self.kubernetes.iter();
        let programs = self.nodes.iter().flat_map(|node| node.programs.values());
        let plane = servers.clone().flat_map(|servers| servers.plane.values());
        let agents = self.nodes.iter().map(|node| node.agent);
        // What starts others ends first.
        (programs.chain(plane).copied().map(Some))
            .chain(agents)
            .chain([self.controller])
            .chain(servers.flat_map(|servers| [servers.apiserver, servers.etcd]))
    }

    /// Whether weft and pods are the cluster's own rather than the lab's.
    pub fn is_cluster(&self) -> bool {
        let mode = self.kubernetes.as_ref().map(|kubernetes| kubernetes.mode);
        mode.is_some_and(|mode| mode != KubernetesMode::Api)
    }

    /// Whether the lab leaves weft's installation to somebody else.
    pub fn is_bare(&self) -> bool {
        let mode = self.kubernetes.as_ref().map(|kubernetes| kubernetes.mode);
        mode == Some(KubernetesMode::Bare)
    }

    /// Names of all the lab's namespaces.
    pub fn namespaces(&self) -> Vec<&str> {
        let nodes = self.nodes.iter().map(|node| node.netns.as_str());
        let externals = self
            .externals
            .iter()
            .map(|external| external.netns.as_str());
        let pods = self.pods.iter().map(|pod| pod.netns.as_str());
        // Pods first: what is in them ends before their nodes do.
        pods.chain(nodes)
            .chain(externals)
            .chain([self.underlay.as_str()])
            .collect()
    }

    /// The node, or an error that names those there are.
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                Error::Invalid(format!(
                    "no node {name:?} in lab {}; there are {}",
                    self.lab,
                    names.join(", ")
                ))
            })
    }

    /// The pod, if the lab added it.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<&Pod, Error> {
        self.pods
            .iter()
            .find(|pod| pod.namespace == namespace && pod.name == name)
            .ok_or_else(|| Error::Invalid(format!("no pod {namespace}/{name} in lab {}", self.lab)))
    }
}

/// Replaces a file by rename, so that readers see the old or the new content.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    // A leading dot: the manifests directory's readers pass such files over.
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    fs::write(&temporary, content).map_err(file("write", &temporary))?;
    fs::rename(&temporary, path).map_err(file("rename to", path))
}

/// The kernel's name for this boot.
pub fn boot_id() -> Result<String, Error> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = fs::read_to_string(path).map_err(file("read", path))?;
    Ok(id.trim_end().to_owned())
}

/// The lab's lock, held until dropped; the kernel frees it when the holder dies.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _held: File,
}

impl Lock {
    /// Waits for the lock, at most `patience`.
    pub fn take(lab: &LabName, patience: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + patience;
        let path = lab.lock();
        loop {
            fs::create_dir_all(ROOT).map_err(file("create", Path::new(ROOT)))?;
            let opened = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let held = match opened {
                // The directory went with another lab's `down`.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened.map_err(file("open", &path))?,
            };
            match held.try_lock() {
                // `down` removes the file while it holds the lock: a lock on a removed file keeps nobody out.
                Ok(()) if same_file(&held, &path) => return Ok(Self { path, _held: held }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => return Err(Error::Busy(lab.clone())),
                Err(TryLockError::Error(error)) => return Err(file("lock", &path)(error)),
            }
        }
    }

    /// Removes the lock's file, and the labs' directory if this was the last.
    pub fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(file("remove", &self.path))?;
        // Not empty: other labs are there.
        drop(fs::remove_dir(ROOT));
        Ok(())
    }
}

fn same_file(held: &File, path: &Path) -> bool {
    let id = |meta: std::io::Result<fs::Metadata>| meta.ok().map(|meta| (meta.dev(), meta.ino()));
    let held = id(held.metadata());
    held.is_some() && held == id(fs::metadata(path))
}
