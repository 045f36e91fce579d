//! What can go wrong with the journal.

use std::io;
use std::path::{Path, PathBuf};

use weft_core::model::EndpointId;

use super::record::SCHEMA;
use crate::cni::ipam::Exhausted;

/// The journal failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file could not be read, written or removed.
    #[error("{call} {}: {source}", path.display())]
    Io {
        /// What was tried.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody else works with it.
    #[error("{} is in use by another weft agent; give each agent its own stateDir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer weft wrote a file, and an older one must not guess what it means.
    #[error(
        "{} has schema {schema}, this weft knows {}; start the newer weft again, or drain the node and remove the file",
        path.display(), SCHEMA
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its number.
        schema: u32,
    },
    /// The kernel's links could not be read or changed.
    #[error("{0}")]
    Netlink(#[from] crate::netlink::NetlinkError),
    /// A subnet is full.
    #[error("{0}")]
    Exhausted(#[from] Exhausted),
    /// Two attachments have one hash. Removing one of the pods helps: its successor has another id.
    #[error(
        "attachment {id} needs the host interface name {host_ifname}, which attachment {holder} has"
    )]
    Collision {
        /// The new one.
        id: EndpointId,
        /// Their name.
        host_ifname: String,
        /// The old one.
        holder: EndpointId,
    },
}

/// For `map_err`.
pub(super) fn failed(call: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        call,
        path: path.to_owned(),
        source,
    }
}
