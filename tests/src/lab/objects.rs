//! API objects in the lab's manifests directory: what an API server would add to the agents' own store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value};
use weft_agent::store::{self, Object, Store as _, StoreError};

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory or one of its files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text is no YAML or JSON.
    #[error("{origin}: {source}")]
    Parse {
        /// File, or `standard input`.
        origin: String,
        /// Where and why.
        source: yaml_serde::Error,
    },
    /// A document is no API object.
    #[error("{origin}: document {number}: {why}")]
    Document {
        /// File, or `standard input`.
        origin: String,
        /// Counted from 1.
        number: usize,
        /// What is missing.
        why: String,
    },
    /// There is nothing to delete.
    #[error("no {kind} {name}")]
    Missing {
        /// As the caller spelt it.
        kind: String,
        /// `NAME` or `NAMESPACE/NAME`
        name: String,
    },
}

/// Kinds without a namespace, of those a lab meets.
const CLUSTER_SCOPED: [&str; 5] = [
    "Namespace",
    "Node",
    "ClusterNetwork",
    "HostSubnet",
    "NetNamespace",
];

/// The objects of a text of YAML or JSON documents; lists are taken apart. All or nothing.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for (index, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let fail = |why| Error::Document {
            origin: origin.to_owned(),
            number: index + 1,
            why,
        };
        let value = Value::deserialize(document).map_err(|source| Error::Parse {
            origin: origin.to_owned(),
            source,
        })?;
        if value.is_null() {
            continue;
        }
        let is_list = value["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List"));
        let items = match value["items"].as_array() {
            Some(items) if is_list => items.clone(),
            _ => vec![value],
        };
        for item in items {
            objects.push(object(item).map_err(fail)?);
        }
    }
    Ok(objects)
}

/// Checks an object; a namespace left out is `default`, as with kubectl.
fn object(mut value: Value) -> Result<Object, String> {
    let scoped = value["kind"]
        .as_str()
        .is_some_and(|kind| !CLUSTER_SCOPED.contains(&kind));
    if let (true, Some(metadata)) = (scoped, metadata(&mut value)) {
        let namespace = metadata.entry("namespace").or_insert(Value::Null);
        if namespace.is_null() || namespace == "" {
            *namespace = "default".into();
        }
    }
    Object::from_value(value)
}

fn metadata(value: &mut Value) -> Option<&mut Map<String, Value>> {
    value.get_mut("metadata")?.as_object_mut()
}

/// A manifests directory. Reads only what changed since it was last asked.
#[derive(Clone)]
pub struct Manifests(Arc<store::Manifests>);

impl Manifests {
    /// The directory need not exist yet.
    pub fn at(directory: PathBuf) -> Self {
        Self(Arc::new(store::Manifests::new(directory)))
    }

    /// Writes an object in the place of the one of its kind and name, wherever that is.
    ///
    /// As an API server would, keeps `metadata.uid` and `status` of the old one where the new one has none, and gives
    /// a new one a uid.
    pub fn apply(&self, object: &Object) -> Result<(), Error> {
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
                done => return Ok(done.map(drop)?),
            }
        }
    }

    /// Writes an object unless there is one of its kind and name.
    pub fn create(&self, value: Value) -> Result<(), Error> {
        let object = object(value).map_err(|why| Error::Document {
            origin: "the lab".into(),
            number: 1,
            why,
        })?;
        match self.insert(&object) {
            Err(StoreError::Exists { .. }) if self.contains(&object)? => Ok(()),
            done => Ok(done.map(drop)?),
        }
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

    /// Removes an object; `kind` in any case, singular or plural; `namespace` is ignored for kinds without.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), Error> {
        loop {
            let Some(found) = self.get(kind, namespace, name)? else {
                let name = format!("{namespace}/{name}");
                return Err(Error::Missing {
                    kind: kind.to_owned(),
                    name,
                });
            };
            match self.0.delete(&found) {
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                done => return Ok(done?),
            }
        }
    }

    /// The object of a kind and name, as in [`Manifests::delete`].
    pub fn get(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, Error> {
        let kind = kind.to_lowercase();
        let listing = self.0.list()?;
        let found = listing.objects.iter().find(|object| {
            let key = &object.key;
            let here = key.namespace == namespace || key.namespace.is_empty();
            key.name == name && here && is_kind(&kind, &key.kind.to_lowercase())
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

#[cfg(test)]
mod tests;
