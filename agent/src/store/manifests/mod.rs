//! The manifests directory: API objects in YAML and JSON files.
//!
//! Several processes may share a directory. Readers need no lock, because every write of ours replaces a whole file by
//! rename; writers hold a `flock` on `.lock` in the directory. Dot-files, and files that do not end in `.yaml`, `.yml` or
//! `.json`, are none of ours.
//!
//! # Layout
//! - `document`, `edit`: the text of a file
//! - `read`: files, and whether they changed
//! - `contents`: what is in force
//! - `kept`: an object as it is kept
//! - `shared`: contents and who wants to hear of changes
//! - `watch`: the thread that follows the directory
//! - `write`: lock and atomic rename

mod contents;
mod document;
mod edit;
mod kept;
mod read;
mod shared;
mod watch;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::Shared;

use super::{Listing, Object, Store, StoreError, Watch};

/// The objects of a directory of YAML and JSON files.
pub struct Manifests {
    shared: Arc<Shared>,
}

impl Manifests {
    /// A store on this directory, which may come to be later. Nothing is read yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            shared: Arc::new(Shared::new(dir.into())),
        }
    }
}

impl Store for Manifests {
    fn list(&self) -> Result<Listing, StoreError> {
        let mut state = self.shared.lock();
        // While a watch runs, the listing is what the watch has told; else somebody has to look.
        if !state.is_watched() {
            state
                .rescan(&self.shared.dir)
                .map_err(StoreError::io("list", &self.shared.dir))?;
        }
        Ok(state.listing(&self.shared.dir))
    }

    fn watch(&self) -> Result<Watch, StoreError> {
        watch::watch(&self.shared)
    }

    fn create(&self, object: &Object) -> Result<Arc<Object>, StoreError> {
        write::create(&self.shared, object)
    }

    fn update(&self, object: &Object) -> Result<Arc<Object>, StoreError> {
        let written = write::replace(&self.shared, object, Some(&object.value))?;
        written.ok_or_else(|| StoreError::NotFound {
            object: object.key.clone(),
        })
    }

    fn delete(&self, object: &Object) -> Result<(), StoreError> {
        write::replace(&self.shared, object, None).map(drop)
    }

    fn stale(&self) -> Duration {
        self.shared.lock().unread()
    }

    fn behind(&self) -> Duration {
        self.stale()
    }
}

#[cfg(test)]
mod tests;
