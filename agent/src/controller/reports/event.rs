//! News -> an Event.

use std::time::SystemTime;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::condition::shortened;
use crate::store::{Object, StoreError};

const CONTROLLER: &str = "network.openshift.io/weft-controller";
/// What the API server takes.
const NOTE: usize = 1_024;
const INSTANCE: usize = 128;
/// Names have 253 characters at most; a dot and the digest follow.
const NAME: usize = 200;

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) struct News {
    warning: bool,
    /// In CamelCase.
    pub(in crate::controller) reason: &'static str,
    note: String,
    /// Tells one occasion from another where all else is equal.
    occasion: String,
}

impl News {
    /// Something that somebody has to mend, or should know.
    pub(in crate::controller) fn warning(
        reason: &'static str,
        note: String,
        occasion: String,
    ) -> Self {
        Self {
            warning: true,
            reason,
            note,
            occasion,
        }
    }

    /// Something that went as it should.
    pub(in crate::controller) fn normal(
        reason: &'static str,
        note: String,
        occasion: String,
    ) -> Self {
        Self {
            warning: false,
            ..Self::warning(reason, note, occasion)
        }
    }
}

/// The event. Its name is made of what it tells, so that the same is told once.
pub(super) fn event(
    about: &Object,
    news: &News,
    me: &str,
    now: SystemTime,
) -> Result<Object, StoreError> {
    let uid = about.value.pointer("/metadata/uid").and_then(Value::as_str);
    let uid = uid.unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [uid, news.reason, &news.note, &news.occasion] {
        digest.update(part);
        digest.update([0]);
    }
    let digest = digest.finalize();
    let digest = digest
        .iter()
        .take(8)
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    // Events about cluster-wide objects live here.
    let namespace = match about.key.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    let mut regarding = json!({
        "apiVersion": about.api_version, "kind": about.key.kind.as_str(), "name": about.key.name, "uid": uid,
    });
    if !about.key.namespace.is_empty() {
        regarding["namespace"] = about.key.namespace.as_str().into();
    }
    let name = shortened(&about.key.name, NAME).trim_end_matches(['.', '-']);
    Object::from_value(json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": format!("{name}.{digest:016x}")},
        "eventTime": humantime::format_rfc3339_micros(now).to_string(),
        "reportingController": CONTROLLER,
        "reportingInstance": shortened(me, INSTANCE),
        "action": "Report",
        "type": if news.warning { "Warning" } else { "Normal" },
        "reason": news.reason,
        "regarding": regarding,
        "note": shortened(&news.note, NOTE),
    }))
    .map_err(|reason| StoreError::Unwritable {
        object: about.key.clone(),
        reason,
    })
}
