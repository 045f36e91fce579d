//! The folder of pinned maps and links.
//!
//! ```text
//! BPFDIR/v<ABI>/maps/<MAP>
//! BPFDIR/v<ABI>/links/<interface>:<program>
//! ```
//! Pins outlive the agent: forwarding goes on without it. A new ABI has a folder of its own and never opens an old one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use weft_ebpf::ABI;

/// A pin folder could not be made, read or cleaned.
#[derive(Debug, thiserror::Error)]
#[error(
    "{call} {path}: {source} (is a bpf file system mounted there? mount -t bpf bpf /sys/fs/bpf)"
)]
pub struct PinError {
    /// What was tried.
    pub call: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// The pin folder of this ABI.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Makes the folders where they are missing.
    pub fn open(bpf_dir: &Path) -> Result<Self, PinError> {
        let root = bpf_dir.join(format!("v{ABI}"));
        for dir in ["maps", "links"] {
            let path = root.join(dir);
            fs::create_dir_all(&path).map_err(|source| PinError {
                call: "create folder",
                path,
                source,
            })?;
        }
        Ok(Self { root })
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    /// Where the links are pinned.
    pub fn links_folder(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Where the link of a program on an interface is pinned. bpffs refuses dots in names, hence the colon.
    pub fn link(&self, interface: &str, program: &str) -> PathBuf {
        self.links_folder().join(format!("{interface}:{program}"))
    }

    /// Interfaces and programs of all pinned links.
    pub fn links(&self) -> Result<Vec<(String, String)>, PinError> {
        let path = self.links_folder();
        let fail = |source| PinError {
            call: "read folder",
            path: path.clone(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&path).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            if let Some((interface, program)) = name.to_string_lossy().split_once(':') {
                found.push((interface.to_owned(), program.to_owned()));
            }
        }
        Ok(found)
    }

    /// Removes a pin; one that is not there is fine.
    pub fn remove(path: &Path) -> Result<(), PinError> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(PinError {
                call: "remove pin",
                path: path.to_owned(),
                source: e,
            }),
            _ => Ok(()),
        }
    }
}
