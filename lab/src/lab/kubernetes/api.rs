//! Objects on the API server.

use std::sync::Arc;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, WatchParams};
use kube::core::gvk::GroupVersionKind;
use serde_json::{Value, json};
use weft_agent::store::Object;

use super::client::{Client, Resource};
use crate::lab::cluster;
use crate::lab::objects::{self, Error, Objects};
use crate::lab::state::State;

/// Objects on the API server, as the administrator of the lab.
pub struct Api {
    client: Client,
}

type Kind = kube::Api<DynamicObject>;

impl Api {
    /// Nothing is asked yet.
    pub fn at(state: &State) -> Self {
        Self {
            client: Client::of(state),
        }
    }

    /// Whether the server is ready.
    pub fn ready(&self) -> Result<(), Error> {
        let answer = self.client.ask("ask whether it is ready", async |client| {
            let request = http::Request::get("/readyz").body(Vec::new());
            let request = request.map_err(kube::Error::HttpError)?;
            client.request_text(request).await
        });
        answer.map(drop)
    }

    /// Whether a watch of a kind begins: for a new kind, a moment later than the server has it.
    pub fn is_watchable(&self, gvk: &GroupVersionKind) -> Result<bool, Error> {
        let Some((kind, _)) = self.client.kind(gvk)? else {
            return Ok(false);
        };
        let what = format!("watch {}", gvk.kind);
        let begun = self.client.ask(&what, async |client| {
            let watch = Kind::all_with(client, &kind);
            watch.watch(&WatchParams::default(), "0").await.map(drop)
        });
        match begun {
            Ok(()) => Ok(true),
            Err(error) if error.is(429) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A request about one object.
    fn about<T: Send>(
        &self,
        what: &str,
        (resource, namespace): (&Resource, &str),
        work: impl AsyncFnOnce(Kind) -> kube::Result<T> + Send,
    ) -> Result<T, Error> {
        self.client.ask(what, async |client| {
            let (kind, capabilities) = resource;
            let namespaced = capabilities.scope == kube::discovery::Scope::Namespaced;
            work(if namespaced {
                Kind::namespaced_with(client, namespace, kind)
            } else {
                Kind::all_with(client, kind)
            })
            .await
        })
    }

    /// The kind of an object; an error if the server does not have it.
    fn resource(&self, object: &Object) -> Result<Resource, Error> {
        let (group, version) = match object.api_version.split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", object.api_version.as_str()),
        };
        let gvk = GroupVersionKind::gvk(group, version, object.key.kind.as_str());
        self.client.kind(&gvk)?.ok_or_else(|| Error::Server {
            what: format!("write {}", object.key),
            why: format!(
                "the API server has no kind {} in {}",
                gvk.kind, object.api_version
            ),
        })
    }

    /// Writes the object in the place of what is there. Again if somebody was faster.
    fn write(&self, resource: &Resource, object: &Object) -> Result<Value, Error> {
        let key = &object.key;
        let at = (resource, key.namespace.as_str());
        let mut namespace_made = false;
        loop {
            let new = bare(object)?;
            let params = PostParams::default();
            let made = self.about(&format!("create {key}"), at, async |api| {
                api.create(&params, &new).await
            });
            match made {
                Err(error) if error.is(409) => {}
                Err(error) if error.is(404) && !namespace_made && !key.namespace.is_empty() => {
                    self.create(cluster::namespace(&key.namespace))?;
                    namespace_made = true;
                    continue;
                }
                made => return value(key, &made?),
            }
            let replaced = self.about(&format!("replace {key}"), at, async |api| {
                let Some(old) = api.get_opt(&key.name).await? else {
                    return Ok(None);
                };
                let mut new = new.clone();
                new.metadata.resource_version = old.metadata.resource_version;
                new.metadata.uid = old.metadata.uid;
                api.replace(&key.name, &params, &new).await.map(Some)
            });
            match replaced {
                Ok(Some(replaced)) => return value(key, &replaced),
                Ok(None) => {}
                Err(error) if error.is(409) || error.is(404) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn patch_status(
        &self,
        resource: &Resource,
        key: &weft_agent::store::ObjectRef,
        status: &Value,
    ) -> Result<Value, Error> {
        let patch = Patch::Merge(json!({ "status": status }));
        let what = format!("write the status of {key}");
        let patched = self.about(&what, (resource, &key.namespace), async |api| {
            let params = PatchParams::default();
            api.patch_status(&key.name, &params, &patch).await
        })?;
        value(key, &patched)
    }
}

impl Objects for Api {
    fn apply(&self, object: &Object) -> Result<Arc<Object>, Error> {
        let resource = self.resource(object)?;
        let mut written = self.write(&resource, object)?;
        let has_status = resource
            .1
            .subresources
            .iter()
            .any(|(part, _)| part.plural.ends_with("/status") || part.plural == "status");
        match object.value.get("status") {
            Some(status) if has_status && written.get("status") != Some(status) => {
                written = self.patch_status(&resource, &object.key, status)?;
            }
            _ => {}
        }
        objects::checked(written).map(Arc::new)
    }

    fn create(&self, value: Value) -> Result<(), Error> {
        let object = objects::checked(value)?;
        match self.get(
            object.key.kind.as_str(),
            &object.key.namespace,
            &object.key.name,
        )? {
            Some(_) => Ok(()),
            None => self.apply(&object).map(drop),
        }
    }

    fn set_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: Value,
    ) -> Result<(), Error> {
        let missing = || Error::missing(kind, namespace, name);
        let resource = self.client.kind_called(kind)?.ok_or_else(missing)?;
        let key = weft_agent::store::ObjectRef {
            kind: resource.0.kind.as_str().into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match self.patch_status(&resource, &key, &status) {
            Err(error) if error.is(404) => Err(missing()),
            done => done.map(drop),
        }
    }

    fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Object>, Error> {
        let missing = || Error::missing(kind, namespace, name);
        let resource = self.client.kind_called(kind)?.ok_or_else(missing)?;
        let what = format!("patch {kind} {name}");
        let patched = self.about(&what, (&resource, namespace), async |api| {
            let params = PatchParams::default();
            api.patch(name, &params, &Patch::Merge(patch)).await
        });
        match patched {
            Err(error) if error.is(404) => Err(missing()),
            patched => {
                let key = weft_agent::store::ObjectRef::cluster(kind, name);
                objects::checked(value(&key, &patched?)?).map(Arc::new)
            }
        }
    }

    fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), Error> {
        let missing = || Error::missing(kind, namespace, name);
        let resource = self.client.kind_called(kind)?.ok_or_else(missing)?;
        let what = format!("delete {kind} {name}");
        let done = self.about(&what, (&resource, namespace), async |api| {
            // No kubelet would end a pod's time of grace.
            api.delete(name, &DeleteParams::default().grace_period(0))
                .await?;
            if resource.0.kind == "Namespace" {
                // No controller does this last step of a namespace's end. What is in it stays.
                let done = json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": name}, "spec": {"finalizers": []},
                });
                api.replace_subresource("finalize", name, &PostParams::default(), &done)
                    .await?;
            }
            Ok(())
        });
        match done {
            Err(error) if error.is(404) => Err(missing()),
            done => done,
        }
    }

    fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, Error> {
        let Some(resource) = self.client.kind_called(kind)? else {
            return Ok(None);
        };
        let what = format!("get {kind} {name}");
        let found = self.about(&what, (&resource, namespace), async |api| {
            api.get_opt(name).await
        })?;
        let Some(found) = found else { return Ok(None) };
        let key = weft_agent::store::ObjectRef::cluster(kind, name);
        objects::checked(value(&key, &found)?).map(|object| Some(Arc::new(object)))
    }
}

/// As it is sent: without what the server alone decides.
fn bare(object: &Object) -> Result<DynamicObject, Error> {
    let mut new: DynamicObject =
        serde_json::from_value(object.value.clone()).map_err(|error| Error::Server {
            what: format!("write {}", object.key),
            why: error.to_string(),
        })?;
    let metadata = &mut new.metadata;
    (
        metadata.resource_version,
        metadata.uid,
        metadata.managed_fields,
    ) = (None, None, None);
    Ok(new)
}

/// As the lab has objects; who wrote which field is nothing to it.
fn value(key: &weft_agent::store::ObjectRef, object: &DynamicObject) -> Result<Value, Error> {
    let mut value = serde_json::to_value(object).map_err(|error| Error::Server {
        what: format!("read {key}"),
        why: error.to_string(),
    })?;
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    Ok(value)
}
