//! API objects of a lab: read from what users write, kept in a manifests directory or on an API server.

pub mod change;
mod manifests;

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value};
use weft_agent::store::{Object, StoreError};

pub use manifests::Manifests;

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
    /// A patch that would make another object of it, or none.
    #[error("patch {object}: {why}")]
    Patch {
        /// The object.
        object: String,
        /// What it would do.
        why: String,
    },
    /// There is nothing to delete, or to change.
    #[error("no {kind} {name}")]
    Missing {
        /// As the caller spelt it.
        kind: String,
        /// `NAME` or `NAMESPACE/NAME`
        name: String,
    },
    /// The API server refused a request.
    #[error("{what}: {}", told(answer))]
    Api {
        /// What was asked.
        what: String,
        /// Its answer.
        answer: Box<kube::Error>,
    },
    /// The API server could not be asked, or its answer not be understood.
    #[error("{what}: {why}")]
    Server {
        /// What was asked.
        what: String,
        /// What is in the way.
        why: String,
    },
}

impl Error {
    pub(super) fn missing(kind: &str, namespace: &str, name: &str) -> Self {
        Self::Missing {
            kind: kind.to_owned(),
            name: format!("{namespace}/{name}"),
        }
    }

    /// Whether it is the API server's answer of this HTTP status.
    pub(super) fn is(&self, code: u16) -> bool {
        matches!(self, Self::Api { answer, .. } if matches!(&**answer, kube::Error::Api(status) if status.code == code))
    }
}

/// The server's own words, or the last cause of there being none: the others only tell which layer met it.
fn told(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    let last = causes.last().map(ToString::to_string);
    format!("no answer of the API server: {}", last.unwrap_or_default())
}

/// Where a lab keeps its API objects. Kinds are named in any case, singular or plural; a namespace is ignored for kinds
/// without.
pub trait Objects: Send + Sync {
    /// Writes an object in the place of the one of its kind and name; what only a server gives (`metadata.uid`) stays,
    /// and so does `status` if the new one has none. Answers the object as it is kept.
    fn apply(&self, object: &Object) -> Result<Arc<Object>, Error>;

    /// Writes an object unless there is one of its kind and name.
    fn create(&self, value: Value) -> Result<(), Error>;

    /// Replaces the status of an object.
    fn set_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: Value,
    ) -> Result<(), Error>;

    /// Changes an object by a merge patch (RFC 7386), but not its status. Answers the object as it is kept.
    fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Object>, Error>;

    /// Removes an object.
    fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), Error>;

    /// The object of a kind and name.
    fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, Error>;
}

/// Kinds without a namespace, of those a lab meets.
const CLUSTER_SCOPED: [&str; 8] = [
    "Namespace",
    "Node",
    "ClusterNetwork",
    "HostSubnet",
    "NetNamespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
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

/// An object of the lab's own.
pub(super) fn checked(value: Value) -> Result<Object, Error> {
    object(value).map_err(|why| Error::Document {
        origin: "the lab".into(),
        number: 1,
        why,
    })
}

#[cfg(test)]
mod tests;
