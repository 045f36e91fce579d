//! A manifests directory: what an API server would add to the agents' own store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use weft_agent::store::{self, Object, Store as _, StoreError};

use super::{Error, Objects, checked, metadata};

/// A manifests directory. Reads only what changed since it was last asked.
#[derive(Clone)]
pub struct Manifests(Arc<store::Manifests>);

impl Manifests {
    /// The directory need not exist yet.
    pub fn at(directory: PathBuf) -> Self {
        Self(Arc::new(store::Manifests::new(directory)))
    }

    fn insert(&self, object: &Object) -> Result<Arc<Object>, StoreError> {
        self.0.create(&Object {
            value: complete(object, None),
            ..object.clone()
        })
    }

    fn contains(&self, object: &Object) -> Result<bool, Error> {
        Ok(self
            .0
            .list()?
            .objects
            .iter()
            .any(|found| found.key == object.key))
    }
}

impl Objects for Manifests {
    /// As an API server would, gives a new object a uid.
    fn apply(&self, object: &Object) -> Result<Arc<Object>, Error> {
        loop {
            let done = match self
                .0
                .list()?
                .objects
                .iter()
                .find(|old| old.key == object.key)
            {
                Some(old) => {
                    let mut new = Object::clone(old);
                    new.value = complete(object, Some(old));
                    self.0.update(&new)
                }
                None => self.insert(object),
            };
            match done {
                // Somebody else was faster: once more, against what is there now.
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                Err(StoreError::Exists { .. }) if self.contains(object)? => {}
                done => return Ok(done?),
            }
        }
    }

    fn create(&self, value: Value) -> Result<(), Error> {
        let object = checked(value)?;
        match self.insert(&object) {
            Err(StoreError::Exists { .. }) if self.contains(&object)? => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }

    fn set_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: Value,
    ) -> Result<(), Error> {
        loop {
            let found = self.get(kind, namespace, name)?;
            let found = found.ok_or_else(|| Error::missing(kind, namespace, name))?;
            let mut new = Object::clone(&found);
            new.set_field("status", status.clone());
            match self.0.update(&new) {
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                done => return Ok(done.map(drop)?),
            }
        }
    }

    fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Object>, Error> {
        loop {
            let found = self.get(kind, namespace, name)?;
            let found = found.ok_or_else(|| Error::missing(kind, namespace, name))?;
            match self.0.update(&patched(&found, patch)?) {
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                done => return Ok(done?),
            }
        }
    }

    fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), Error> {
        loop {
            let Some(found) = self.get(kind, namespace, name)? else {
                return Err(Error::missing(kind, namespace, name));
            };
            match self.0.delete(&found) {
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                done => return Ok(done?),
            }
        }
    }

    fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, Error> {
        let kind = kind.to_lowercase();
        let listing = self.0.list()?;
        let found = listing.objects.iter().find(|object| {
            let key = &object.key;
            let here = key.namespace == namespace || key.namespace.is_empty();
            key.name == name && here && is_kind(&kind, &key.kind.as_str().to_lowercase())
        });
        Ok(found.cloned())
    }
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Manifests").finish_non_exhaustive()
    }
}

/// Singular or plural.
fn is_kind(asked: &str, kind: &str) -> bool {
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    asked == kind || asked == plural
}

/// The object after a merge patch. It stays what it is, and keeps its status, as on a server.
fn patched(object: &Object, patch: &Value) -> Result<Object, Error> {
    let fail = |why: String| Error::Patch {
        object: object.key.to_string(),
        why,
    };
    if !patch.is_object() {
        return Err(fail("it is no JSON object".into()));
    }
    let mut value = object.value.clone();
    json_patch::merge(&mut value, patch);
    let mut new = Object::from_value(value).map_err(fail)?;
    if (&new.key, &new.api_version) != (&object.key, &object.api_version) {
        return Err(fail(
            "apiVersion, kind, namespace and name cannot change".into(),
        ));
    }
    if let Some(fields) = new.value.as_object_mut() {
        match object.value.get("status") {
            Some(status) => fields.insert("status".into(), status.clone()),
            None => fields.remove("status"),
        };
    }
    Ok(Object {
        value: new.value,
        ..object.clone()
    })
}

/// With what an API server fills in.
fn complete(object: &Object, old: Option<&Object>) -> Value {
    let mut value = object.value.clone();
    let kept = old.and_then(|old| old.value["metadata"].get("uid").cloned());
    if let Some(metadata) = metadata(&mut value) {
        metadata
            .entry("uid")
            .or_insert_with(|| kept.unwrap_or_else(|| uid().into()));
    }
    let status = old.and_then(|old| old.value.get("status").cloned());
    if let (Some(fields), Some(status)) = (value.as_object_mut(), status) {
        fields.entry("status").or_insert(status);
    }
    value
}

/// Random, in the form of RFC 9562 version 4.
fn uid() -> String {
    let bits = rand::random::<u128>() & !((0xf << 76) | (0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}
