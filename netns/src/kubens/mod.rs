//! The mount namespace of kubelet and container runtime ("kubens"): their mounts stay off the host, where each one would
//! wake everybody who watches the mount table, process 1 first of all.
//!
//! It is a slave of the host's namespace (the host's mounts come in, nothing gets out), shared inside (what it has
//! comes to containers), and is pinned on `mnt` in a runtime directory, which is bound onto itself and unbindable: the
//! kernel takes the pin of a mount namespace on no shared mount, and a recursive bind must not take the pin along.
//!
//! # Layout
//! - here: [`Place`], and what is found there
//! - `start`, `stop`: making and unpinning it
//! - `inside`: the processes in it

mod error;
mod inside;
mod start;
mod stop;

use std::path::{Path, PathBuf};

pub use error::KubensError;
pub use inside::{Process, in_namespaces};
pub use start::Started;
pub use stop::Stopped;

use crate::error::Error;
use crate::{MountNs, Mounts};

/// The runtime directory of `kubens.service`.
pub const DIRECTORY: &str = "/run/kubens";
/// The pin in it.
const PIN: &str = "mnt";
/// For `EnvironmentFile=` of services: `KUBENSMNT=` and the pin's path.
const ENV: &str = "env";
/// Where iproute2 and container runtimes pin network namespaces.
const IPROUTE: &str = "/run/netns";

/// A runtime directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(PathBuf);

impl Default for Place {
    fn default() -> Self {
        Self::new(DIRECTORY)
    }
}

/// What stands at the pin's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// The file, or the environment file that names it, without a namespace: it was unmounted by hand, or pinning failed.
    Stale,
    /// One mount namespace, as `mnt:[4026531841]`.
    Valid(String),
    /// Several, the one that new processes join last: who was started before the last one is in another.
    Stacked(Vec<String>),
    /// A namespace of another kind on top, as `net:[4026531840]`.
    Mismatched(String),
}

impl Found {
    /// Judges a list of [`Mounts::namespaces_at`]; `named` is whether the pin's file or the environment file is there.
    pub fn of(pins: Vec<String>, named: bool) -> Self {
        match pins.last() {
            None if named => Self::Stale,
            None => Self::Nothing,
            Some(top) if !top.starts_with("mnt:") => Self::Mismatched(top.clone()),
            Some(top) if pins.len() == 1 => Self::Valid(top.clone()),
            Some(_) => Self::Stacked(pins),
        }
    }

    /// The mount namespace that new processes join.
    pub fn joined(&self) -> Option<&str> {
        match self {
            Self::Valid(name) => Some(name),
            Self::Stacked(names) => names.last().map(String::as_str),
            _ => None,
        }
    }
}

impl Place {
    /// The directory must be absolute, without `.` and `..`; it need not exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The pin's path.
    pub fn pin(&self) -> PathBuf {
        self.0.join(PIN)
    }

    /// The environment file's path.
    pub fn env(&self) -> PathBuf {
        self.0.join(ENV)
    }

    /// What is pinned, also when the caller is inside, from where the pin cannot be seen: process 1 sees it.
    ///
    /// In a container that does not share the host's processes this is `Nothing`, or what the container itself has there.
    pub fn look(&self) -> Result<Found, KubensError> {
        let pin = self.pin();
        let own = Mounts::here()?.namespaces_at(&pin);
        if !own.is_empty() {
            return Ok(Found::of(own, true));
        }
        let pins = Mounts::of(1)?.namespaces_at(&pin);
        // The caller may have a root of its own, and the one of process 1 is not to be read by everybody.
        let of_1 =
            |path: &Path| Path::new("/proc/1/root").join(path.strip_prefix("/").unwrap_or(path));
        let mut files = [pin, self.env()].into_iter();
        let named = files.any(|file| file.exists() || of_1(&file).exists());
        Ok(Found::of(pins, named))
    }

    /// Runs `work` where the pin is or has to be: in the host's namespace if the caller is inside, else in the caller's.
    fn on_host<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, KubensError> + Send,
    ) -> Result<T, KubensError> {
        let own = name(&MountNs::current()?);
        if Mounts::of(1)?.namespaces_at(&self.pin()).contains(&own) {
            return MountNs::of_pid(1)?.run(work)?;
        }
        work()
    }
}

/// As `readlink /proc/PID/ns/mnt` shows it.
fn name(ns: &MountNs) -> String {
    format!("mnt:[{}]", ns.id().ino)
}

/// A pinned namespace, opened; `None` where nothing is pinned or something else stands.
fn open(path: &Path) -> Result<Option<MountNs>, Error> {
    match MountNs::open(path) {
        Ok(ns) => Ok(Some(ns)),
        Err(Error::NoNamespace { .. } | Error::WrongKind { .. }) => Ok(None),
        Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
