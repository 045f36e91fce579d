//! Where unpacked kernels and the root file system are kept: `WEFT_VM_CACHE`, else `weft/vm` in the user's cache.
//!
//! What is there is whole: it is made under another name and renamed. A lock for each name lets commands that need the
//! same thing wait for the one that makes it. Everything may be removed at any time; the next command makes it again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::error::file;

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// The folder that the environment names; made if it is not there.
    pub fn open() -> Result<Self, Error> {
        let set = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        let user = || {
            let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
            cache.map(|cache| cache.join("weft/vm"))
        };
        let directory = set("WEFT_VM_CACHE").or_else(user).ok_or(Error::NoCache)?;
        fs::create_dir_all(&directory).map_err(file("create", &directory))?;
        let whole = directory.canonicalize().map_err(file("find", &directory))?;
        Ok(Self(whole))
    }

    /// A path below it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Waits for everybody else who makes what this name stands for; until the guard is dropped.
    pub(super) fn lock(&self, name: &str) -> Result<File, Error> {
        let path = self.path("locks").join(name.replace('/', "-"));
        create_parent(&path)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(file("open", &path))?;
        lock.lock().map_err(file("lock", &path))?;
        Ok(lock)
    }

    /// The folder of this name; `make` fills an empty one if it is not there.
    pub(super) fn fill(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let path = self.path(name);
        if path.is_dir() {
            return Ok(path);
        }
        let _lock = self.lock(name)?;
        if path.is_dir() {
            return Ok(path);
        }
        create_parent(&path)?;
        // Under the lock nobody else makes it: what is left is of a command that was killed.
        let new = path.with_added_extension("new");
        remove(&new)?;
        fs::create_dir(&new).map_err(file("create", &new))?;
        match make(&new) {
            Ok(()) => fs::rename(&new, &path).map_err(file("rename", &new))?,
            Err(error) => {
                // The error of the making says more than one of clearing up after it; the next one clears up too.
                drop(fs::remove_dir_all(&new));
                return Err(error);
            }
        }
        Ok(path)
    }
}

pub(super) fn create_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), |parent| {
        fs::create_dir_all(parent).map_err(file("create", parent))
    })
}

pub(super) fn remove(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file("remove", directory)(error))
        }
        _ => Ok(()),
    }
}
