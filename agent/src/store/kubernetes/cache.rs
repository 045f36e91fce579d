//! What a watch has told so far. A plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_core::model::Kind;

use crate::store::{Delta, Object, ObjectRef};

/// Objects in force, or only their names where nobody lists.
///
/// Versions are compared as numbers: Kubernetes guarantees their order within a resource since 1.35, and etcd's revisions
/// always had it. So what a write answered is never replaced by an older state that the watch tells later.
#[derive(Debug)]
pub(super) struct Cache {
    keep: Keep,
    held: BTreeMap<ObjectRef, Held>,
    /// Objects that were deleted by us, with the version that was: the watch may tell of it once more.
    buried: BTreeMap<ObjectRef, u64>,
    /// Number of the latest list of each kind.
    lists: BTreeMap<Kind, u32>,
    listing: BTreeSet<Kind>,
    unlisted: BTreeSet<Kind>,
}

/// How much of each object stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// All of it, for [`Cache::objects`].
    Objects,
    /// ObjectRef and version, which is what it takes to notice that an object vanished.
    Names,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// Objects are not kept, or not all of its kind were told.
    Unknown,
    Absent,
    Here(Arc<Object>),
}

#[derive(Debug)]
struct Held {
    version: u64,
    /// The last list that had it, or the one that was running when it came.
    list: u32,
    object: Option<Arc<Object>>,
}

impl Cache {
    pub(super) fn new(keep: Keep, kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            keep,
            held: BTreeMap::new(),
            buried: BTreeMap::new(),
            lists: BTreeMap::new(),
            listing: BTreeSet::new(),
            unlisted: kinds.into_iter().collect(),
        }
    }

    /// Whether every kind was listed once.
    pub(super) fn is_listed(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Every object, if they are kept and complete.
    pub(super) fn objects(&self) -> Option<impl Iterator<Item = &Arc<Object>>> {
        let whole = self.keep == Keep::Objects && self.is_listed();
        whole.then(|| self.held.values().filter_map(|held| held.object.as_ref()))
    }

    /// An object.
    pub(super) fn get(&self, key: &ObjectRef) -> Known {
        let whole = self.lists.contains_key(&key.kind) && !self.unlisted.contains(&key.kind);
        if self.keep == Keep::Names || !whole {
            return Known::Unknown;
        }
        match self.held.get(key).and_then(|held| held.object.as_ref()) {
            Some(object) => Known::Here(Arc::clone(object)),
            None => Known::Absent,
        }
    }

    /// A list of a kind begins. One that ended in the midst is forgotten.
    pub(super) fn begin(&mut self, kind: &Kind) {
        *self.lists.entry(kind.clone()).or_default() += 1;
        self.listing.insert(kind.clone());
    }

    /// An object was listed, changed or written. `None` if this state or a newer one is known already.
    pub(super) fn put(&mut self, object: Object) -> Option<Delta> {
        let version = number(&object.version);
        let list = self.list(&object.key.kind);
        if self
            .buried
            .get(&object.key)
            .is_some_and(|old| *old >= version)
        {
            return None;
        }
        if let Some(held) = self.held.get_mut(&object.key) {
            held.list = list;
            if held.version >= version {
                return None;
            }
        }
        let object = Arc::new(object);
        let kept = (self.keep == Keep::Objects).then(|| Arc::clone(&object));
        let held = Held {
            version,
            list,
            object: kept,
        };
        self.buried.remove(&object.key);
        self.held.insert(object.key.clone(), held);
        Some(Delta::Put(object))
    }

    /// An object was removed, `version` being that of its removal.
    pub(super) fn gone(&mut self, key: ObjectRef, version: &str) -> Option<Delta> {
        self.buried.remove(&key);
        // A newer one of the same name was made by us meanwhile.
        if self.held.get(&key)?.version > number(version) {
            return None;
        }
        self.held.remove(&key)?;
        Some(Delta::Gone(key))
    }

    /// This state of an object was removed by us, or somebody else has done so.
    pub(super) fn bury(&mut self, key: ObjectRef, version: &str) -> Option<Delta> {
        let version = number(version);
        if self
            .held
            .get(&key)
            .is_some_and(|held| held.version > version)
        {
            return None;
        }
        let delta = self.held.remove(&key).map(|_| Delta::Gone(key.clone()));
        self.buried.insert(key, version);
        delta
    }

    /// A list of a kind is complete: what it did not have is gone.
    pub(super) fn end(&mut self, kind: &Kind) -> Vec<Delta> {
        let list = self.list(kind);
        self.listing.remove(kind);
        self.unlisted.remove(kind);
        self.buried.retain(|key, _| key.kind != *kind);
        let gone = self
            .held
            .extract_if(.., |key, held| key.kind == *kind && held.list != list);
        gone.map(|(key, _)| Delta::Gone(key)).collect()
    }

    fn list(&self, kind: &Kind) -> u32 {
        self.lists.get(kind).copied().unwrap_or_default()
    }
}

/// One that is no number is older than all others and never in the way.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}
