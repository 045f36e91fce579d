//! An untyped API object.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use weft_core::model::{Kind, ObjectRef};

/// An API object as it was read: `value` is a mapping with `apiVersion`, `kind` and `metadata.name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its name.
    pub key: ObjectRef,
    /// Group and version.
    pub api_version: String,
    /// All of it, apiVersion, kind and metadata included.
    pub value: Value,
    /// What an optimistic update compares: a digest of `value` as it was read.
    pub version: String,
    /// The file it was read from.
    pub file: Option<PathBuf>,
}

impl Object {
    /// A cluster-wide object with these top-level fields beside apiVersion, kind and metadata.
    pub fn cluster(
        api_version: &str,
        kind: impl Into<Kind>,
        name: &str,
        fields: Map<String, Value>,
    ) -> Self {
        let kind = kind.into();
        let mut value = json!({
            "apiVersion": api_version, "kind": kind.as_str(), "metadata": {"name": name},
        });
        if let Value::Object(map) = &mut value {
            map.extend(fields);
        }
        Self {
            key: ObjectRef::cluster(kind, name),
            api_version: api_version.into(),
            version: version(&value),
            value,
            file: None,
        }
    }

    /// Checks what every object must have.
    pub fn from_value(value: Value) -> Result<Self, String> {
        let Value::Object(map) = &value else {
            return Err("is not a mapping: an object has apiVersion, kind and metadata".into());
        };
        let api_version = text(map, "apiVersion")?;
        let kind = text(map, "kind")?;
        let Some(Value::Object(metadata)) = map.get("metadata") else {
            return Err(format!("{kind} has no metadata"));
        };
        let name = text(metadata, "name").map_err(|e| format!("{kind}: metadata.{e}"))?;
        let namespace = match metadata.get("namespace") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(namespace)) => namespace.clone(),
            Some(_) => return Err(format!("{kind}/{name}: metadata.namespace is not a string")),
        };
        let key = ObjectRef {
            kind: kind.into(),
            namespace,
            name,
        };
        Ok(Self {
            key,
            api_version,
            version: version(&value),
            value,
            file: None,
        })
    }

    /// An annotation's value.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value
            .pointer("/metadata/annotations")?
            .get(name)?
            .as_str()
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.value.pointer("/metadata/labels")?.get(name)?.as_str()
    }

    /// Sets an annotation, or takes it away. `version` stays: it is what an update is based on.
    pub fn set_annotation(&mut self, name: &str, text: Option<&str>) {
        let Some(Value::Object(metadata)) = self.value.get_mut("metadata") else {
            return;
        };
        match (text, metadata.get_mut("annotations")) {
            (Some(text), Some(Value::Object(annotations))) => {
                annotations.insert(name.into(), text.into());
            }
            (Some(text), _) => {
                metadata.insert("annotations".into(), json!({ name: text }));
            }
            (None, Some(Value::Object(annotations))) => {
                annotations.remove(name);
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
            (None, _) => {}
        }
    }

    /// Sets a top-level field. `version` stays.
    pub fn set_field(&mut self, name: &str, to: Value) {
        if let Value::Object(map) = &mut self.value {
            map.insert(name.into(), to);
        }
    }
}

fn text(map: &Map<String, Value>, field: &str) -> Result<String, String> {
    match map.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => Err(format!("{field} is missing")),
        Some(_) => Err(format!("{field} is not a string: put it in quotes")),
    }
}

/// A digest of the content; equal contents have equal versions.
pub(super) fn version(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    let short = digest
        .iter()
        .take(8)
        .fold(0u64, |n, b| n << 8 | u64::from(*b));
    format!("{short:016x}")
}
