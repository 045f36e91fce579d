//! What goes wrong with namespaces; one type, because opening, making, entering and naming go together.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::namespace::Kind;

/// A call about a namespace failed; see [`Error::errno`] for the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path or process is not there, or must not be read.
    #[error("open {kind} {}: {source}", path.display())]
    Open {
        /// What it should have been.
        kind: Kind,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// It is there, and is no namespace at all.
    #[error("{object} is no {wanted}, but {found}")]
    NoNamespace {
        /// Path, or `descriptor N`.
        object: String,
        /// What it should have been.
        wanted: Kind,
        /// What it is, with an article: `a directory`.
        found: &'static str,
    },
    /// It is a namespace of another kind.
    #[error("{object} is no {wanted}, but {found}")]
    WrongKind {
        /// Path, or `descriptor N`.
        object: String,
        /// What it should have been.
        wanted: Kind,
        /// What it is, with an article: `a PID namespace`.
        found: &'static str,
    },
    /// A descriptor could not be duplicated, or asked what it is.
    #[error("{call} {object}: {source}")]
    Descriptor {
        /// The system call.
        call: &'static str,
        /// Path, or `descriptor N`.
        object: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// The namespace could not be made.
    #[error("create {kind}: {call}: {source}{}", privilege(*source))]
    Create {
        /// Which kind.
        kind: Kind,
        /// The system call.
        call: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// The namespace could not be entered.
    #[error("enter {kind}: {call}: {source}{}", privilege(*source))]
    Enter {
        /// Which kind.
        kind: Kind,
        /// The system call.
        call: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// The namespace could not be given a name; nothing is left at the path.
    #[error("pin {kind} at {}: {call}: {source}{}", path.display(), pin_remedy(*kind, call, *source))]
    Pin {
        /// Which kind.
        kind: Kind,
        /// The name.
        path: PathBuf,
        /// The step.
        call: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// The name could not be taken away.
    #[error("unpin {}: {call}: {source}{}", path.display(), privilege(*source))]
    Unpin {
        /// The name.
        path: PathBuf,
        /// The step.
        call: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// `unpin` was asked to remove something that pins no namespace; it was left as it is.
    #[error("unpin {}: it is {found}, not a pinned namespace", path.display())]
    NotPinned {
        /// The path.
        path: PathBuf,
        /// What it is, with an article.
        found: &'static str,
    },
    /// No thread could be started to enter the namespace on.
    #[error("start a thread for a namespace: {0}")]
    Thread(#[source] std::io::Error),
}

fn privilege(source: Errno) -> &'static str {
    if source == Errno::EPERM {
        " (CAP_SYS_ADMIN is needed)"
    } else {
        ""
    }
}

fn pin_remedy(kind: Kind, call: &str, source: Errno) -> &'static str {
    match (kind, source) {
        (_, Errno::EEXIST) => " (the name is taken)",
        // The kernel refuses a loop, and a copy of the pin in every peer of a shared mount.
        (Kind::Mount, Errno::EINVAL) if call == "mount" => {
            " (the directory must lie on a private mount of an older mount namespace)"
        }
        _ => privilege(source),
    }
}

impl Error {
    /// The kernel's answer, where there was one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open { source, .. }
            | Self::Descriptor { source, .. }
            | Self::Create { source, .. }
            | Self::Enter { source, .. }
            | Self::Pin { source, .. }
            | Self::Unpin { source, .. } => Some(*source),
            Self::Thread(source) => source.raw_os_error().map(Errno::from_raw),
            Self::NoNamespace { .. } | Self::WrongKind { .. } | Self::NotPinned { .. } => None,
        }
    }
}

/// The errno of an I/O error that came from a system call.
pub(crate) fn errno(source: &std::io::Error) -> Errno {
    source.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
}
