//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use super::ObjectRef;

/// A request to the store failed; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{call} {}: {source}", path.display())]
    Io {
        /// What was tried.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be watched.
    #[error("watch {}: {reason}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The file that holds the object does not parse, so that it cannot be edited.
    #[error("{object} is in {}, which does not parse: {reason}; mend the file first", file.display())]
    Unparsable {
        /// The object.
        object: ObjectRef,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The object has changed since it was read.
    #[error("{object} was changed by somebody else meanwhile; read it again and retry")]
    Conflict {
        /// The object.
        object: ObjectRef,
    },
    /// No such object.
    #[error("{object} does not exist")]
    NotFound {
        /// The object.
        object: ObjectRef,
    },
    /// There is such an object, or its file, already.
    #[error("{object} cannot be created: {there} exists already")]
    Exists {
        /// The object.
        object: ObjectRef,
        /// What is in the way.
        there: String,
    },
    /// The object cannot be written as it is.
    #[error("{object} cannot be written: {reason}")]
    Unwritable {
        /// The object.
        object: ObjectRef,
        /// Why not.
        reason: String,
    },
    /// The way to the API server cannot be made out.
    #[error("{from}: {reason}")]
    Access {
        /// Where the server's address and the credentials should have come from.
        from: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The API server refused, or could not be asked.
    #[error("{verb} {what} at {server}: {reason}")]
    Server {
        /// `list`
        verb: &'static str,
        /// An object, or a resource.
        what: String,
        /// The server's address.
        server: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
}

impl StoreError {
    pub(super) fn io(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { call, path, source }
    }
}
