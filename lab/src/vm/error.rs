//! What can go wrong with a virtual machine, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no machine, or no result of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the host.
    #[error("{program} is not there; `make setup` installs it (Debian: {package})")]
    Missing {
        /// Its name.
        program: &'static str,
        /// What brings it.
        package: &'static str,
    },
    /// No kernel of this name.
    #[error("no kernel {0:?}; there are {1}")]
    NoKernel(String, String),
    /// `/dev` files and owners of a root file system are only root's to make.
    #[error("only root can make {}: run as root, `weft-lab vm fetch` once is enough", .0.display())]
    NotRoot(PathBuf),
    /// Neither of the variables that say where the cache is.
    #[error(
        "none of WEFT_VM_CACHE, XDG_CACHE_HOME and HOME is set: no place for kernels and root file system"
    )]
    NoCache,
    /// A program failed; the end of what it said.
    #[error("{what}: {status}\n{said}")]
    Tool {
        /// The command line.
        what: String,
        /// How it ended.
        status: String,
        /// The last lines of its output.
        said: String,
    },
    /// A package that is not as expected.
    #[error("{package}: {why}")]
    Package {
        /// Name, or file.
        package: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody says where packages come from.
    #[error("{0}")]
    Mirror(String),
    /// A file of the host.
    #[error("{call} {}: {source}", path.display())]
    File {
        /// What was tried.
        call: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// qemu cannot be started.
    #[error("start qemu: {0}")]
    Start(io::Error),
    /// The kernel stopped.
    #[error("the kernel panicked: {line}; the console from there on:\n{console}")]
    Panic {
        /// The line that says why.
        line: String,
        /// The end of the console's output.
        console: String,
    },
    /// The machine ended before the command.
    #[error(
        "the machine ended before its command did (qemu: {status}){qemu}; the console's last lines:\n{console}"
    )]
    Ended {
        /// Exit status of qemu.
        status: String,
        /// What qemu said, after a colon.
        qemu: String,
        /// The end of the console's output.
        console: String,
    },
    /// No end in time.
    #[error("{what} within {} s (--deadline); the console's last lines:\n{console}", deadline.as_secs())]
    Deadline {
        /// How far it came.
        what: &'static str,
        /// How long it was given.
        deadline: Duration,
        /// The end of the console's output.
        console: String,
    },
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// The programs that go into the machine.
    #[error(transparent)]
    Lab(#[from] crate::lab::Error),
}

/// For `map_err`: which call failed on which file.
pub(super) fn file(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { call, path, source }
}
