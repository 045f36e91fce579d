//! API objects, listed, watched and updated, wherever they are kept.
//!
//! # Layout
//! - [`Object`], [`ObjectRef`]: an untyped API object and its name
//! - [`Store`]: what every implementation can do
//! - [`Manifests`]: the objects of a directory of YAML and JSON files
//! - [`Kubernetes`]: the objects of an API server

mod error;
pub mod kubernetes;
mod manifests;
mod object;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use weft_core::model::{Kind, Problem};

pub use error::StoreError;
pub use kubernetes::Kubernetes;
pub use manifests::Manifests;
pub use object::Object;
pub use weft_core::model::ObjectRef;

use crate::config::Source;

/// Where API objects are kept. Updates are optimistic: they name the version they are based on.
pub trait Store: Send + Sync {
    /// Every object in force. Reflects each write made through this store, and everything that its watches were told.
    fn list(&self) -> Result<Listing, StoreError>;

    /// The object of a key, as [`Store::list`] has it.
    fn get(&self, key: &ObjectRef) -> Result<Option<Arc<Object>>, StoreError> {
        let listing = self.list()?;
        Ok(listing.object(key).cloned())
    }

    /// Every object in force and then each change, from a thread of the store's own.
    fn watch(&self) -> Result<Watch, StoreError>;

    /// Adds an object; [`StoreError::Exists`] if there is one of its key. Answers the object with its version.
    fn create(&self, object: &Object) -> Result<Arc<Object>, StoreError>;

    /// Replaces the object of the same key and version; [`StoreError::Conflict`] if it has another version by now.
    fn update(&self, object: &Object) -> Result<Arc<Object>, StoreError>;

    /// Removes the object of this key and version; [`StoreError::Conflict`] if it has another version by now.
    fn delete(&self, object: &Object) -> Result<(), StoreError>;

    /// How long nothing was heard from where the objects are kept, so that what a watch has told may be out of date by this
    /// much.
    fn stale(&self) -> Duration;

    /// How long the latest watch has not been able to follow all that it is to follow; zero while it can.
    fn behind(&self) -> Duration;
}

/// What a store holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Objects in force, one a key, in the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// What is wrong in the store itself: files that do not parse, objects defined twice.
    pub problems: Vec<Problem>,
}

impl Listing {
    /// An object by what names it.
    pub fn object(&self, wanted: &ObjectRef) -> Option<&Arc<Object>> {
        let found = self
            .objects
            .binary_search_by(|object| object.key.cmp(wanted));
        found.ok().and_then(|index| self.objects.get(index))
    }

    /// The object of this kind and name; the namespace is empty if it is cluster-wide.
    pub fn get(&self, kind: impl Into<Kind>, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.object(&ObjectRef::namespaced(kind, namespace, name))
    }

    /// The objects of a kind.
    pub fn of_kind(&self, kind: impl Into<Kind>) -> impl Iterator<Item = &Arc<Object>> {
        let kind = kind.into();
        self.objects.iter().filter(move |o| o.key.kind == kind)
    }
}

/// News from a watch.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Objects that were added, changed or removed together.
    Changed(Vec<Delta>),
    /// The whole set of what is wrong in the store itself replaces the one before.
    Problems(Vec<Problem>),
    /// All that was there at the start has been told. Comes once, and not before all of the store could be read.
    Listed,
}

/// One change of an object.
#[derive(Clone, Debug)]
pub enum Delta {
    /// Added, or another version.
    Put(Arc<Object>),
    /// Removed.
    Gone(ObjectRef),
}

/// A running watch; it ends when this or its last [`WatchStop`] says so.
pub struct Watch {
    /// The news, in order; disconnected once the watch has ended.
    pub notices: Receiver<Notice>,
    stop: WatchStop,
}

/// Ends a watch from another thread.
#[derive(Clone)]
pub struct WatchStop(Arc<dyn Fn() + Send + Sync>);

impl WatchStop {
    /// Ends the watch: its receiver is disconnected, also while somebody waits on it.
    pub fn stop(&self) {
        (self.0)();
    }
}

impl Watch {
    fn new(notices: Receiver<Notice>, stop: impl Fn() + Send + Sync + 'static) -> Self {
        let stop = WatchStop(Arc::new(stop));
        Self { notices, stop }
    }

    /// A handle that ends this watch.
    pub fn stopper(&self) -> WatchStop {
        self.stop.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Who reads a store: an API server is only asked for the kinds that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `weft agent`
    Agent,
    /// `weft controller`
    Controller,
    /// `weft pod-network`
    PodNetwork,
}

/// Opens the store that the configuration names. Nothing is read yet.
pub fn open(source: &Source, reader: Reader) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match source {
        Source::Manifests(dir) => Arc::new(Manifests::new(dir)),
        Source::Kubernetes(access) => Arc::new(Kubernetes::open(access, reader)?),
    })
}

#[cfg(test)]
pub(crate) mod scratch;
