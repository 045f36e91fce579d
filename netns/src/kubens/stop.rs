//! Unpinning the namespace.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, umount2};

use super::error::fail;
use super::start::lock;
use super::{KubensError, Place, Process, in_namespaces, open};
use crate::{Mounts, unpin};

/// What a stop did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// The namespaces that were unpinned, as `mnt:[4026531841]`; none if nothing was pinned.
    pub namespaces: Vec<String>,
    /// Who is still in them, after a forced stop.
    pub left: Vec<Process>,
}

impl Place {
    /// Takes the pin, the environment file and the mount of the directory away. With processes inside it refuses, and
    /// changes nothing, unless `force` is set: they would stay in a namespace that has no name, and the next start would
    /// make another one.
    pub fn stop(&self, force: bool) -> Result<Stopped, KubensError> {
        self.on_host(|| self.stop_here(force))
    }

    fn stop_here(&self, force: bool) -> Result<Stopped, KubensError> {
        let directory = self.directory();
        if !directory.is_dir() {
            return Ok(Stopped::default());
        }
        let _lock = lock(directory)?;
        let path = self.pin();
        let mounts = Mounts::here()?;
        let namespaces = mounts.namespaces_at(&path);
        if let Some(found) = namespaces.iter().find(|name| !name.starts_with("mnt:")) {
            let found = found.clone();
            return Err(KubensError::Taken { path, found });
        }
        let inside = open(&path)?.map(|ns| ns.run(Mounts::here)).transpose()?;
        let left = in_namespaces(&namespaces, inside.transpose()?.as_ref())?;
        if !left.is_empty() && !force {
            let processes = left;
            return Err(KubensError::Busy { path, processes });
        }
        // First, so that nobody is sent to a pin that is going.
        remove(&self.env())?;
        match unpin(&path) {
            Err(error) if error.errno() != Some(nix::errno::Errno::ENOENT) => {
                return Err(error.into());
            }
            _ => {}
        }
        if mounts.is_unbindable(directory) {
            umount2(directory, MntFlags::MNT_DETACH)
                .map_err(|source| fail("unmount", directory)(source.into()))?;
        }
        Ok(Stopped { namespaces, left })
    }
}

fn remove(path: &Path) -> Result<(), KubensError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("remove", path)(error)),
        _ => Ok(()),
    }
}
