//! The processes in a mount namespace.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::KubensError;
use super::error::fail;
use crate::Mounts;

/// A process, as far as a message needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`, at most 15 bytes).
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// The processes whose mount namespace is one of these (`mnt:[4026531841]`), by number. Containers are in namespaces of
/// their own; what runs them is found.
///
/// Where the name of a process' namespace may not be read (`ptrace(2)` says when), its mounts can be: it is inside if it
/// has one of `mounts`, since a mount is in one namespace alone.
pub fn in_namespaces(
    names: &[String],
    mounts: Option<&Mounts>,
) -> Result<Vec<Process>, KubensError> {
    let is_inside = |pid, link: &Path| match fs::read_link(link) {
        Ok(name) => Ok(names.iter().any(|it| name.as_os_str() == it.as_str())),
        // It ended meanwhile, or is a zombie.
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let shown = Mounts::of(pid)?;
            Ok(mounts.is_some_and(|mounts| mounts.have_one_of(&shown)))
        }
        Err(error) => Err(fail("read", link)(error)),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(fail("read", "/proc"))? {
        let entry = entry.map_err(fail("read", "/proc"))?;
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        if is_inside(pid, &entry.path().join("ns/mnt"))? {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let name = name.trim_end().to_owned();
            found.push(Process { pid, name });
        }
    }
    found.sort();
    Ok(found)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32)
}
