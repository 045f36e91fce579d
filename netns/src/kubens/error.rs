//! What goes wrong with the namespace of kubelet and runtime.

use std::io;
use std::path::PathBuf;

use super::Process;
use crate::MountsError;
use crate::error::Error;

/// The namespace was not made, or not unpinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubensError {
    /// A call about a namespace.
    #[error(transparent)]
    Namespace(#[from] Error),
    /// The mounts could not be read.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// A file or mount of the runtime directory.
    #[error("{call} {}: {source}", path.display())]
    File {
        /// What was tried.
        call: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The pin's path holds something that is not ours.
    #[error("{} is taken by {found}: remove it, then start again", path.display())]
    Taken {
        /// The pin's path.
        path: PathBuf,
        /// What stands there.
        found: String,
    },
    /// Processes are inside.
    #[error(
        "these processes are in the mount namespace pinned at {}: {}: stop their services first, or use --force, which \
         leaves them in a namespace that nobody else can join",
        path.display(), list(processes)
    )]
    Busy {
        /// The pin's path.
        path: PathBuf,
        /// Who.
        processes: Vec<Process>,
    },
}

fn list(processes: &[Process]) -> String {
    let words: Vec<_> = processes.iter().map(ToString::to_string).collect();
    words.join(", ")
}

pub(super) fn fail(
    call: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> KubensError {
    let path = path.into();
    move |source| KubensError::File { call, path, source }
}
