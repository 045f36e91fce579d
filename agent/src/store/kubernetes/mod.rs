//! The API objects of a Kubernetes API server.
//!
//! What is watched is what the [`Reader`] needs. The server may be away at any time, also at the start: what was told stays
//! as it was, the watch's problems say what is wrong, and nothing is taken back but by a complete list or an event.
//!
//! # Layout
//! - `connect`: credentials, client, and the thread that it runs on; `transport`, `refused`: the HTTP under
//!   the client, and requests that met the end of a connection
//! - `kinds`, `received`: what is read, and what of it is kept
//! - `follow`: the watches; `cache`, `failures`: what they told, and what is wrong; pure
//! - `heard`: when the server was heard last; `silence`: the end of an answer that brings nothing;
//!   `patience`: how long a failed watch waits
//! - `request`: single reads and writes
//! - [`agents`]: questions to the agents themselves

pub mod agents;
mod cache;
mod connect;
mod failures;
mod follow;
mod heard;
mod kinds;
mod patience;
mod received;
mod refused;
mod request;
mod silence;
mod transport;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;

use super::{Listing, Object, ObjectRef, Reader, Store, StoreError, Watch};
use crate::config::{Access, HOME};
use cache::{Keep, Known};
use connect::{Connection, connect};
use follow::Following;
use kinds::{Part, ServedKind};
pub use transport::Limits;

/// The objects of a Kubernetes API server.
pub struct Kubernetes {
    connection: Arc<Connection>,
    kinds: Vec<&'static ServedKind>,
    keep: Keep,
    /// Whether a refused write is followed by a look at what is there. A controller's next plan comes from its watch, and
    /// its account may not `get`.
    looks: bool,
    /// The namespace that weft runs in.
    home: String,
    /// The latest watch, which answers lists as long as it runs.
    following: Mutex<Weak<Following>>,
}

impl Kubernetes {
    /// Reads the credentials. The server is not asked yet.
    pub fn open(access: &Access, reader: Reader) -> Result<Self, StoreError> {
        Self::open_within(access, reader, Limits::default())
    }

    /// The same with limits of its own.
    pub fn open_within(
        access: &Access,
        reader: Reader,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let keep = match reader {
            // It never lists, and there may be one on each of thousands of nodes.
            Reader::Agent => Keep::Names,
            Reader::Controller | Reader::PodNetwork => Keep::Objects,
        };
        Ok(Self {
            connection: Arc::new(connect(access, limits)?),
            kinds: kinds::of(reader),
            keep,
            looks: matches!(reader, Reader::PodNetwork),
            home: HOME.into(),
            following: Mutex::new(Weak::new()),
        })
    }

    /// Names the namespace that weft runs in, [`HOME`] if this is not called: that of the agents' pods.
    #[must_use]
    pub fn at_home_in(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.home);
        self
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.connection.server
    }

    fn following(&self) -> Option<Arc<Following>> {
        let following = self.following.lock();
        following.unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The kind of an object that is to be written.
    fn writable(object: &Object) -> Result<&'static ServedKind, StoreError> {
        let unwritable = |reason: &str| StoreError::Unwritable {
            object: object.key.clone(),
            reason: reason.into(),
        };
        let kind = kinds::resource(&object.key.kind);
        let kind = kind.ok_or_else(|| unwritable("this program does not write this kind"))?;
        if kind.part != Part::Whole {
            return Err(unwritable("only a part of it was read"));
        }
        if kind.namespaced == object.key.namespace.is_empty() {
            let reason = if kind.namespaced {
                "metadata.namespace is missing"
            } else {
                "the kind is cluster-wide: leave metadata.namespace out"
            };
            return Err(unwritable(reason));
        }
        Ok(kind)
    }

    /// Replaces the status of the object of the same version, and nothing else of it. After a conflict the watch tells what is
    /// there: whoever reports only may wait for it.
    pub fn update_status(&self, object: &Object) -> Result<(), StoreError> {
        let kind = Self::writable(object)?;
        let written = request::update_status(&self.connection, kind, object)?;
        self.wrote(&written);
        Ok(())
    }

    /// Sets fields of an object's status, whatever its version, and nothing else of it; null removes one.
    pub fn patch_status(&self, key: &ObjectRef, fields: &Value) -> Result<(), StoreError> {
        let kind = kinds::resource(&key.kind).ok_or_else(|| StoreError::NotFound {
            object: key.clone(),
        })?;
        let written = request::patch_status(&self.connection, kind, key, fields)?;
        self.wrote(&written);
        Ok(())
    }

    fn watches(&self, kind: &ServedKind) -> bool {
        self.kinds.iter().any(|it| it.kind == kind.kind)
    }

    /// What the server has by now, after it refused a write: so that the next try is based on it.
    fn refresh(&self, kind: &'static ServedKind, object: &Object) {
        if !self.looks || !self.watches(kind) {
            return;
        }
        match request::get(&self.connection, kind, &object.key) {
            Ok(Some(current)) => self.wrote(&current),
            Ok(None) => self.removed(object),
            Err(error) => tracing::debug!(%error, "after a refused write"),
        }
    }

    fn wrote(&self, object: &Object) {
        let watched = kinds::resource(&object.key.kind).is_some_and(|kind| self.watches(kind));
        if let Some(following) = self.following().filter(|_| watched) {
            following.wrote(object.clone());
        }
    }

    fn removed(&self, object: &Object) {
        let watched = kinds::resource(&object.key.kind).is_some_and(|kind| self.watches(kind));
        if let Some(following) = self.following().filter(|_| watched) {
            following.removed(object.key.clone(), &object.version);
        }
    }

    /// Carries the outcome of a write to whoever watches.
    fn settled(
        &self,
        kind: &'static ServedKind,
        object: &Object,
        outcome: Result<Object, StoreError>,
    ) -> Result<Arc<Object>, StoreError> {
        match &outcome {
            Ok(written) => self.wrote(written),
            Err(
                StoreError::Conflict { .. }
                | StoreError::Exists { .. }
                | StoreError::NotFound { .. },
            ) => {
                self.refresh(kind, object);
            }
            Err(_) => {}
        }
        outcome.map(Arc::new)
    }
}

impl Store for Kubernetes {
    fn list(&self) -> Result<Listing, StoreError> {
        if let Some(listing) = self.following().and_then(|following| following.listing()) {
            return Ok(listing);
        }
        let mut objects = Vec::new();
        for kind in &self.kinds {
            objects.extend(
                request::list(&self.connection, kind, &self.home)?
                    .into_iter()
                    .map(Arc::new),
            );
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Listing {
            objects,
            problems: Vec::new(),
        })
    }

    fn get(&self, key: &ObjectRef) -> Result<Option<Arc<Object>>, StoreError> {
        match self.following().map(|following| following.get(key)) {
            Some(Known::Here(object)) => return Ok(Some(object)),
            Some(Known::Absent) => return Ok(None),
            Some(Known::Unknown) | None => {}
        }
        let kind = kinds::resource(&key.kind).ok_or_else(|| StoreError::NotFound {
            object: key.clone(),
        })?;
        Ok(request::get(&self.connection, kind, key)?.map(Arc::new))
    }

    fn watch(&self) -> Result<Watch, StoreError> {
        let (to, notices) = channel();
        let Connection {
            client,
            runtime,
            server,
            heard,
            ..
        } = self.connection.as_ref();
        let following = Following::start(
            &self.kinds,
            self.keep,
            to,
            &self.home,
            (client, runtime, server, heard),
        );
        let mut latest = self
            .following
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *latest = Arc::downgrade(&following);
        // The watch keeps the connection, so that it goes on without the store.
        let connection = Arc::clone(&self.connection);
        Ok(Watch::new(notices, move || {
            following.stop();
            tracing::debug!(server = connection.server, "the watch has ended");
        }))
    }

    fn create(&self, object: &Object) -> Result<Arc<Object>, StoreError> {
        let kind = Self::writable(object)?;
        let outcome = request::create(&self.connection, kind, object);
        self.settled(kind, object, outcome)
    }

    fn update(&self, object: &Object) -> Result<Arc<Object>, StoreError> {
        let kind = Self::writable(object)?;
        let outcome = request::update(&self.connection, kind, object);
        self.settled(kind, object, outcome)
    }

    fn delete(&self, object: &Object) -> Result<(), StoreError> {
        let kind = Self::writable(object)?;
        match request::delete(&self.connection, kind, object) {
            // Something else holds it back: it is still there, marked.
            Ok(Some(remains)) => self.wrote(&remains),
            Ok(None) => self.removed(object),
            Err(error) => {
                if matches!(
                    error,
                    StoreError::Conflict { .. } | StoreError::NotFound { .. }
                ) {
                    self.refresh(kind, object);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn stale(&self) -> Duration {
        self.connection.heard.ago()
    }

    fn behind(&self) -> Duration {
        let following = self.following();
        let since = following.and_then(|following| following.behind_since());
        // A clock that was set back tells nothing.
        since.map_or(Duration::ZERO, |since| since.elapsed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
