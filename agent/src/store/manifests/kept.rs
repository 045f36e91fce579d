//! An object as the store keeps it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::store::{Object, ObjectRef};

/// Deeper trees than this are kept as they are: the parser of texts has a limit of its own, 128.
const DEPTH: usize = 100;

/// An object that is seldom looked at: its text takes a twentieth of the room of its tree.
#[derive(Debug)]
pub(super) struct Kept(Content);

#[derive(Debug)]
enum Content {
    Tree(Arc<Object>),
    Text {
        key: ObjectRef,
        api_version: String,
        version: String,
        file: Option<PathBuf>,
        json: Box<str>,
    },
}

impl Kept {
    pub(super) fn of(object: &Arc<Object>) -> Self {
        if !survives(&object.value, DEPTH) {
            return Self(Content::Tree(Arc::clone(object)));
        }
        let Object {
            key,
            api_version,
            value,
            version,
            file,
        } = &**object;
        Self(Content::Text {
            key: key.clone(),
            api_version: api_version.clone(),
            version: version.clone(),
            file: file.clone(),
            json: value.to_string().into(),
        })
    }

    /// The object again. None is lost: what [`survives`] is the same after a way through its text.
    pub(super) fn object(&self) -> Option<Arc<Object>> {
        match &self.0 {
            Content::Tree(object) => Some(Arc::clone(object)),
            Content::Text {
                key,
                api_version,
                version,
                file,
                json,
            } => {
                let read = serde_json::from_str(json);
                let value = read.inspect_err(
                    |error| tracing::error!(object = %key, %error, "its own text does not parse"),
                );
                Some(Arc::new(Object {
                    key: key.clone(),
                    api_version: api_version.clone(),
                    value: value.ok()?,
                    version: version.clone(),
                    file: file.clone(),
                }))
            }
        }
    }

    pub(super) fn version(&self) -> &str {
        match &self.0 {
            Content::Tree(object) => &object.version,
            Content::Text { version, .. } => version,
        }
    }

    pub(super) fn file(&self) -> Option<&PathBuf> {
        match &self.0 {
            Content::Tree(object) => object.file.as_ref(),
            Content::Text { file, .. } => file.as_ref(),
        }
    }
}

/// Whether a value is the same after it was written and read: fractions may lose their last digit.
fn survives(value: &Value, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(|it| survives(it, below)),
        Value::Object(fields) => fields.values().all(|it| survives(it, below)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: &Value) -> Arc<Object> {
        let value =
            json!({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "n"}, "spec": spec});
        let mut object = Object::from_value(value).unwrap();
        object.file = Some("a.yaml".into());
        Arc::new(object)
    }

    #[test]
    fn an_object_comes_back_as_it_was() {
        let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
        let fraction = json!(1.000_000_000_000_000_2);
        for (spec, is_text) in [
            (json!({"a": [1, -2, null, true, "\u{1f980}\n\""]}), true),
            (json!(u64::MAX), true),
            (fraction, false),
            (deep, false),
        ] {
            let object = object(&spec);
            let kept = Kept::of(&object);
            assert_eq!(matches!(kept.0, Content::Text { .. }), is_text, "{spec}");
            assert_eq!(kept.object().unwrap(), object);
            assert_eq!(kept.version(), object.version);
            assert_eq!(kept.file(), object.file.as_ref());
        }
    }
}
