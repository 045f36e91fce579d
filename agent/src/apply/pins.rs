//! The folder of pinned maps, links and programs.
//!
//! ```text
//! BPFDIR/v<ABI>/maps/<MAP>
//! BPFDIR/v<ABI>/programs/<program>-<what it is>
//! BPFDIR/v<ABI>/links/<interface>:<program>
//! ```
//! Pins outlive the agent: forwarding goes on without it. A new ABI has a folder of its own and never opens a map of an old
//! one. Links it takes over, and the firewall's rules, which name the program; what is left of the old folder is then removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use weft_core::host::DEVICE_PREFIX;
use weft_ebpf::ABI;

/// Folder of the programs.
const PROGRAMS: &str = "programs";

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
    abi: u32,
}

impl Pins {
    /// Makes the folders where they are missing.
    pub fn open(bpf_dir: &Path) -> Result<Self, PinError> {
        let root = bpf_dir.join(format!("v{ABI}"));
        for dir in ["maps", "links", PROGRAMS] {
            let path = root.join(dir);
            fs::create_dir_all(&path).map_err(|source| PinError {
                call: "create folder",
                path,
                source,
            })?;
        }
        Ok(Self { root, abi: ABI })
    }

    /// Folders of other ABI numbers below the same folder, the newest first.
    pub fn others(&self) -> Result<Vec<Self>, PinError> {
        let path = self.root.parent().unwrap_or(&self.root);
        let mut numbers: Vec<u32> = entries(path)?
            .iter()
            .filter_map(|name| name.strip_prefix('v')?.parse().ok())
            .filter(|abi| *abi != self.abi && path.join(format!("v{abi}")).is_dir())
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let of = |abi| Self {
            root: path.join(format!("v{abi}")),
            abi,
        };
        Ok(numbers.into_iter().map(of).collect())
    }

    /// Removes the folder with what weft pins in one. Anything else in it stays, and is an error.
    pub fn remove_folder(&self) -> Result<(), PinError> {
        let ours = |dir: &str, name: &str| dir != "links" || name.starts_with(DEVICE_PREFIX);
        for dir in ["links", PROGRAMS, "maps"] {
            let path = self.root.join(dir);
            if !path.is_dir() {
                continue;
            }
            for name in entries(&path)? {
                if ours(dir, &name) {
                    Self::remove(&path.join(name))?;
                }
            }
            remove_dir(path)?;
        }
        remove_dir(self.root.clone())
    }

    /// The folder of this version.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The ABI number it is for.
    pub fn abi(&self) -> u32 {
        self.abi
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    /// Where a program is pinned that rules of the firewall name.
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join(PROGRAMS).join(name)
    }

    /// Names of the pinned programs.
    pub fn programs(&self) -> Result<Vec<String>, PinError> {
        entries(&self.root.join(PROGRAMS))
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
        let mut found = Vec::new();
        for name in entries(&self.links_folder())? {
            if let Some((interface, program)) = name.split_once(':') {
                found.push((interface.to_owned(), program.to_owned()));
            }
        }
        Ok(found)
    }

    /// Moves a link's pin of another folder to its place in this one.
    pub fn adopt(&self, other: &Self, interface: &str, program: &str) -> Result<(), PinError> {
        let path = other.link(interface, program);
        fs::rename(&path, self.link(interface, program)).map_err(|source| PinError {
            call: "move pin",
            path,
            source,
        })
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

fn entries(path: &Path) -> Result<Vec<String>, PinError> {
    let fail = |source| PinError {
        call: "read folder",
        path: path.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

fn remove_dir(path: PathBuf) -> Result<(), PinError> {
    fs::remove_dir(&path).map_err(|source| PinError {
        call: "remove folder",
        path,
        source,
    })
}
