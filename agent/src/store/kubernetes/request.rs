//! Single reads and writes, from threads that may wait.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{DynamicObject, PartialObjectMeta};
use serde_json::{Value, json};

use super::connect::Connection;
use super::failures::Cause;
use super::kinds::{Part, ServedKind};
use super::received::{NodeAddresses, PodReadiness, Received, object};
use crate::store::{Object, ObjectRef, StoreError};

/// For one answer of the server; a lease is lost in little more.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Items a page of a list has.
const PAGE: u32 = 500;

/// What a request is about, for its error.
struct About<'a> {
    verb: &'static str,
    kind: &'static ServedKind,
    key: Option<&'a ObjectRef>,
}

/// Every object of a kind; `home` is the namespace that weft runs in.
pub(super) fn list(
    on: &Connection,
    kind: &'static ServedKind,
    home: &str,
) -> Result<Vec<Object>, StoreError> {
    let about = About {
        verb: "list",
        kind,
        key: None,
    };
    match kind.part {
        Part::Whole => list_of::<DynamicObject>(on, &about, home),
        Part::Metadata => list_of::<PartialObjectMeta<DynamicObject>>(on, &about, home),
        Part::Addresses => list_of::<NodeAddresses>(on, &about, home),
        Part::Readiness => list_of::<PodReadiness>(on, &about, home),
    }
}

fn list_of<K: Received>(
    on: &Connection,
    about: &About<'_>,
    home: &str,
) -> Result<Vec<Object>, StoreError> {
    let kind = about.kind;
    let mut objects = Vec::new();
    let all = match kind.at_home {
        None => ListParams::default(),
        Some(labels) => ListParams::default().labels(labels),
    };
    let namespace = kind.at_home.map(|_| home);
    let mut params = all.clone().limit(PAGE);
    loop {
        let (api, asked) = (api::<K>(on, kind, namespace), params.clone());
        let page = ask(on, about, async move { api.list(&asked).await });
        let page = match page? {
            Ok(page) => page,
            // The rest of the list is gone: all of it at once then.
            Err(kube::Error::Api(status)) if status.code == 410 && params.limit.is_some() => {
                objects.clear();
                params = all.clone();
                continue;
            }
            Err(error) => return Err(refused(on, about, &error)),
        };
        objects.extend(page.items.into_iter().filter_map(|item| object(kind, item)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(objects),
            Some(token) => params = all.clone().limit(PAGE).continue_token(&token),
        }
    }
}

/// One object; `None` if there is none.
pub(super) fn get(
    on: &Connection,
    kind: &'static ServedKind,
    key: &ObjectRef,
) -> Result<Option<Object>, StoreError> {
    let about = About {
        verb: "get",
        kind,
        key: Some(key),
    };
    match kind.part {
        Part::Whole => get_of::<DynamicObject>(on, &about, key),
        Part::Metadata => get_of::<PartialObjectMeta<DynamicObject>>(on, &about, key),
        Part::Addresses => get_of::<NodeAddresses>(on, &about, key),
        Part::Readiness => get_of::<PodReadiness>(on, &about, key),
    }
}

fn get_of<K: Received>(
    on: &Connection,
    about: &About<'_>,
    key: &ObjectRef,
) -> Result<Option<Object>, StoreError> {
    let (api, name) = (
        api::<K>(on, about.kind, namespace(about.kind, key)),
        key.name.clone(),
    );
    let answer = ask(on, about, async move { api.get_opt(&name).await })?;
    let received = answer.map_err(|error| refused(on, about, &error))?;
    Ok(received.and_then(|received| object(about.kind, received)))
}

/// Adds an object.
pub(super) fn create(
    on: &Connection,
    kind: &'static ServedKind,
    new: &Object,
) -> Result<Object, StoreError> {
    let about = About {
        verb: "create",
        kind,
        key: Some(&new.key),
    };
    let mut data = sendable(new)?;
    data.metadata.resource_version = None;
    data.metadata.uid = None;
    let api = one(on, kind, &new.key);
    let answer = ask(on, &about, async move {
        api.create(&PostParams::default(), &data).await
    })?;
    written(on, &about, &new.key, answer)
}

/// Replaces the object of the same version.
pub(super) fn update(
    on: &Connection,
    kind: &'static ServedKind,
    new: &Object,
) -> Result<Object, StoreError> {
    replace(on, kind, new, ("update", Subresource::None))
}

/// Replaces the status of the object of the same version.
pub(super) fn update_status(
    on: &Connection,
    kind: &'static ServedKind,
    new: &Object,
) -> Result<Object, StoreError> {
    replace(on, kind, new, ("update the status of", Subresource::Status))
}

/// Sets fields of an object's status, whatever its version; null removes one.
pub(super) fn patch_status(
    on: &Connection,
    kind: &'static ServedKind,
    key: &ObjectRef,
    fields: &Value,
) -> Result<Object, StoreError> {
    let about = About {
        verb: "patch the status of",
        kind,
        key: Some(key),
    };
    let patch = Patch::Merge(json!({ "status": fields }));
    let (api, name) = (one(on, kind, key), key.name.clone());
    let answer = ask(on, &about, async move {
        let params = PatchParams::default();
        api.patch_status(&name, &params, &patch).await
    })?;
    written(on, &about, key, answer)
}

enum Subresource {
    None,
    Status,
}

fn replace(
    on: &Connection,
    kind: &'static ServedKind,
    new: &Object,
    (verb, part): (&'static str, Subresource),
) -> Result<Object, StoreError> {
    let about = About {
        verb,
        kind,
        key: Some(&new.key),
    };
    let mut data = sendable(new)?;
    data.metadata.resource_version = Some(new.version.clone());
    let (api, name) = (one(on, kind, &new.key), new.key.name.clone());
    let answer = ask(on, &about, async move {
        let params = PostParams::default();
        match part {
            Subresource::None => api.replace(&name, &params, &data).await,
            Subresource::Status => api.replace_status(&name, &params, &data).await,
        }
    })?;
    written(on, &about, &new.key, answer)
}

/// Removes the object of the same version. `Some`: something holds it back, and this is what it looks like.
pub(super) fn delete(
    on: &Connection,
    kind: &'static ServedKind,
    old: &Object,
) -> Result<Option<Object>, StoreError> {
    let about = About {
        verb: "delete",
        kind,
        key: Some(&old.key),
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: Some(old.version.clone()),
            uid: None,
        }),
        ..DeleteParams::default()
    };
    let (api, name) = (one(on, kind, &old.key), old.key.name.clone());
    let answer = ask(on, &about, async move { api.delete(&name, &params).await })?;
    let answer = answer.map_err(|error| failed(on, &about, &old.key, &error))?;
    let remains = answer.left();
    let remains = remains.filter(|object| {
        let finalizers = object.metadata.finalizers.as_ref();
        object.metadata.deletion_timestamp.is_some() && finalizers.is_some_and(|f| !f.is_empty())
    });
    Ok(remains.and_then(|received| object(kind, received)))
}

fn one(on: &Connection, kind: &ServedKind, key: &ObjectRef) -> Api<DynamicObject> {
    api(on, kind, namespace(kind, key))
}

fn api<K: Received>(on: &Connection, kind: &ServedKind, namespace: Option<&str>) -> Api<K> {
    let (client, resource) = (on.client.clone(), kind.api_resource());
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}

fn namespace<'a>(kind: &ServedKind, key: &'a ObjectRef) -> Option<&'a str> {
    kind.namespaced.then_some(key.namespace.as_str())
}

/// Runs a request on the connection's thread. An error means that there was no answer in time.
fn ask<T: Send + 'static>(
    on: &Connection,
    about: &About<'_>,
    request: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = sync_channel(1);
    on.runtime.spawn(async move {
        // Whoever asked waits without end.
        drop(reply.send(tokio::time::timeout(TIMEOUT, request).await));
    });
    let no_answer = |reason: String| error_of(on, about, reason);
    let answer = answer.recv();
    let answer = answer.map_err(|_| no_answer("the connection was closed".into()))?;
    answer.map_err(|_| {
        let seconds = TIMEOUT.as_secs();
        no_answer(format!(
            "no answer within {seconds} s; it may have been carried out all the same"
        ))
    })
}

fn sendable(object: &Object) -> Result<DynamicObject, StoreError> {
    serde_json::from_value(object.value.clone()).map_err(|error| StoreError::Unwritable {
        object: object.key.clone(),
        reason: error.to_string(),
    })
}

fn written(
    on: &Connection,
    about: &About<'_>,
    key: &ObjectRef,
    answer: kube::Result<DynamicObject>,
) -> Result<Object, StoreError> {
    let received = answer.map_err(|error| failed(on, about, key, &error))?;
    object(about.kind, received)
        .ok_or_else(|| error_of(on, about, "the answer is no object".into()))
}

/// Why a write was refused.
fn failed(on: &Connection, about: &About<'_>, key: &ObjectRef, error: &kube::Error) -> StoreError {
    let object = key.clone();
    let kube::Error::Api(status) = error else {
        return refused(on, about, error);
    };
    match (status.code, status.reason.as_str()) {
        (409, "AlreadyExists") => StoreError::Exists {
            object,
            there: format!("one at {}", on.server),
        },
        (409, _) => StoreError::Conflict { object },
        // Nothing new is let in, and who would read it is gone.
        (403, _) if about.verb == "create" && is_ending(status) => StoreError::NotFound { object },
        (404, _) if about.verb == "create" && about.kind.namespaced => error_of(
            on,
            about,
            format!("{}: create the namespace {}", status.message, key.namespace),
        ),
        // The message of a resource that the server does not know names no object.
        (404, "NotFound")
            if status
                .details
                .as_ref()
                .is_some_and(|details| !details.name.is_empty()) =>
        {
            StoreError::NotFound { object }
        }
        (422, _) => StoreError::Unwritable {
            object,
            reason: status.message.clone(),
        },
        _ => refused(on, about, error),
    }
}

/// Whether the server refused because the namespace is being removed.
fn is_ending(status: &kube::core::Status) -> bool {
    let mut causes = status.details.iter().flat_map(|it| &it.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

/// Why a read was refused.
fn refused(on: &Connection, about: &About<'_>, why: &kube::Error) -> StoreError {
    error_of(on, about, Cause::of(why).explained(about.kind))
}

fn error_of(on: &Connection, about: &About<'_>, reason: String) -> StoreError {
    StoreError::Server {
        verb: about.verb,
        what: about
            .key
            .map_or_else(|| about.kind.name(), ToString::to_string),
        server: on.server.clone(),
        reason,
    }
}
