//! A verdict and the object as it is -> the status to write.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::event::News;
use super::judge::{Status, Verdict};
use crate::store::Object;

/// What the API server takes as the message of a condition.
const MESSAGE: usize = 32_768;

/// Where the nodes stand that have not followed.
const BEHIND: &str = "/status/nodesBehind";

/// A status to write.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// With the new status.
    pub(super) object: Object,
    /// What the condition says, but for its time.
    pub(super) content: String,
    /// The same without the nodes that have not followed.
    pub(super) core: String,
    /// What an event tells, if it is more than another wording.
    pub(super) news: Option<News>,
}

/// `None` if the object says so already, or if there is nothing to say.
pub(super) fn wanted(object: &Object, verdict: &Verdict, now: SystemTime) -> Option<Wanted> {
    let metadata = object.value.get("metadata")?;
    if metadata.get("deletionTimestamp").is_some() {
        return None;
    }
    let generation = metadata.get("generation").cloned().unwrap_or(Value::Null);
    let old = object
        .value
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let old = old.into_iter().flatten();
    let (own, mut others): (Vec<_>, Vec<_>) =
        old.cloned().partition(|it| it["type"] == verdict.condition);
    let own = own.into_iter().next();
    if own.is_none() && !verdict.always && !verdict.warning {
        return None;
    }
    let status = verdict.status.name();
    let (reason, message) = (verdict.told_reason(), verdict.told_message());
    let message = shortened(&message, MESSAGE);
    let mut new = Map::new();
    new.insert("type".into(), verdict.condition.into());
    new.insert("status".into(), status.into());
    new.insert("reason".into(), reason.into());
    new.insert("message".into(), message.into());
    if !generation.is_null() {
        new.insert("observedGeneration".into(), generation.clone());
    }
    let behind = json!(verdict.behind);
    let content = format!("{} {behind}", Value::Object(new.clone()));
    let core = json!([generation, status, verdict.reason, verdict.message]).to_string();
    let was = own.unwrap_or(Value::Null);
    let none = json!([]);
    let listed = object.value.pointer(BEHIND).unwrap_or(&none).clone();
    let same = |field: &str| was.get(field) == new.get(field);
    let since = was["lastTransitionTime"].as_str();
    if same("observedGeneration")
        && same("message")
        && same("reason")
        && same("status")
        && since.is_some()
        && listed == behind
    {
        return None;
    }
    let time = match since.filter(|_| same("status")) {
        Some(since) => since.to_owned(),
        None => humantime::format_rfc3339_seconds(now).to_string(),
    };
    // Another first member of a joined network is another wording of the same.
    let moved = !same("status") || !same("reason");
    let edited = !same("message") && !same("observedGeneration");
    let mended = was["status"] == Status::False.name() && verdict.status == Status::True;
    let occasion = format!("{}{generation}", since.unwrap_or_default());
    let news = if verdict.warning && (moved || edited) {
        Some(News::warning(reason, message.into(), occasion))
    } else if mended {
        Some(News::normal(reason, message.into(), occasion))
    } else {
        None
    };
    new.insert("lastTransitionTime".into(), time.into());
    others.push(Value::Object(new));
    let mut object = object.clone();
    let mut fields = match object.value.get("status") {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    };
    fields.insert("conditions".into(), json!(others));
    if verdict.behind.is_empty() {
        fields.remove("nodesBehind");
    } else {
        fields.insert("nodesBehind".into(), behind);
    }
    object.set_field("status", Value::Object(fields));
    Some(Wanted {
        object,
        content,
        core,
        news,
    })
}

/// The first bytes of a text, whole characters.
pub(super) fn shortened(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
