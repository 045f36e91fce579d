//! Changes of annotations and labels as kubectl takes them: `key=value` sets, `key-` removes.

use serde_json::{Map, Value, json};
use weft_agent::store::Object;

/// Annotations or labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `metadata.annotations`
    Annotations,
    /// `metadata.labels`
    Labels,
}

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Self::Annotations => "annotations",
            Self::Labels => "labels",
        }
    }
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its new value; `None` removes it.
    pub value: Option<String>,
}

impl std::str::FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => match text.strip_suffix('-') {
                Some(key) => (key, None),
                None => return Err("write KEY=VALUE, or KEY- to remove it".into()),
            },
        };
        if key.is_empty() {
            return Err("the key is missing: write KEY=VALUE, or KEY- to remove it".into());
        }
        Ok(Self {
            key: key.to_owned(),
            value,
        })
    }
}

/// The merge patch (RFC 7386) that makes the changes.
pub fn patch(field: Field, changes: &[Change]) -> Value {
    let values: Map<String, Value> = changes
        .iter()
        .map(|change| (change.key.clone(), json!(change.value)))
        .collect();
    json!({"metadata": {field.name(): values}})
}

/// The first change that would put another value in the place of one that is there.
pub fn overwrites<'a>(field: Field, changes: &'a [Change], object: &Object) -> Option<&'a Change> {
    let there = &object.value["metadata"][field.name()];
    changes.iter().find(|change| {
        let old = there.get(&change.key).and_then(Value::as_str);
        old.is_some() && change.value.is_some() && change.value.as_deref() != old
    })
}
