//! Objects as they come over the wire, cut down to what is used.

use kube::Resource;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, ObjectMeta, PartialObjectMeta};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::kinds::ServedKind;
use crate::store::{Object, ObjectRef};

/// What a list or a watch of a kind decodes to.
pub(super) trait Received:
    Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
    + DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + 'static
{
    /// The metadata to keep, and the fields beside apiVersion, kind and metadata.
    fn cut(self) -> (ObjectMeta, Map<String, Value>);
}

impl Received for DynamicObject {
    fn cut(self) -> (ObjectMeta, Map<String, Value>) {
        let mut meta = self.metadata;
        // Half of an object, and of use to the server only: a write without it leaves it as it is.
        meta.managed_fields = None;
        match self.data {
            Value::Object(fields) => (meta, fields),
            _ => (meta, Map::new()),
        }
    }
}

impl Received for PartialObjectMeta<DynamicObject> {
    fn cut(self) -> (ObjectMeta, Map<String, Value>) {
        let labels = self.metadata.labels.clone();
        let meta = ObjectMeta {
            labels,
            ..identity(self.metadata)
        };
        (meta, Map::new())
    }
}

/// An object of which only some fields are read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Trimmed<F> {
    metadata: ObjectMeta,
    #[serde(flatten)]
    fields: F,
}

/// A Node without all that is large in it.
pub(super) type NodeAddresses = Trimmed<Addresses>;
/// A Pod: where it is, and whether it is ready.
pub(super) type PodReadiness = Trimmed<Readiness>;

/// Fields beside apiVersion, kind and metadata, as they stand in the object.
pub(super) trait Fields:
    DeserializeOwned + Clone + std::fmt::Debug + Send + 'static
{
    fn stand(self) -> Map<String, Value>;
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Addresses {
    #[serde(default)]
    status: AddressesStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct AddressesStatus {
    #[serde(default)]
    addresses: Value,
}

impl Fields for Addresses {
    fn stand(self) -> Map<String, Value> {
        let addresses = self.status.addresses;
        Map::from_iter([("status".into(), json!({ "addresses": addresses }))])
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Readiness {
    #[serde(default)]
    spec: ReadinessSpec,
    #[serde(default)]
    status: ReadinessStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ReadinessSpec {
    #[serde(default, rename = "nodeName")]
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ReadinessStatus {
    #[serde(default)]
    conditions: Vec<Value>,
}

impl Fields for Readiness {
    fn stand(self) -> Map<String, Value> {
        let mut conditions = self.status.conditions;
        conditions.retain(|it| it["type"] == "Ready");
        Map::from_iter([
            ("spec".into(), json!({ "nodeName": self.spec.node_name })),
            ("status".into(), json!({ "conditions": conditions })),
        ])
    }
}

impl<F> Resource for Trimmed<F> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(it: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::kind(it)
    }

    fn group(it: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::group(it)
    }

    fn version(it: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::version(it)
    }

    fn plural(it: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::plural(it)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<F: Fields> Received for Trimmed<F> {
    fn cut(self) -> (ObjectMeta, Map<String, Value>) {
        (identity(self.metadata), self.fields.stand())
    }
}

fn identity(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        ..ObjectMeta::default()
    }
}

/// The object; items of a list lack apiVersion and kind, which are put back. `None` if it has no name: no server sends that.
pub(super) fn object(kind: &ServedKind, received: impl Received) -> Option<Object> {
    let (meta, fields) = received.cut();
    let key = key(kind, &meta)?;
    let version = meta.resource_version.clone().unwrap_or_default();
    let mut value = fields;
    value.insert("apiVersion".into(), kind.api_version().into());
    value.insert("kind".into(), kind.kind.as_str().into());
    value.insert("metadata".into(), serde_json::to_value(meta).ok()?);
    Some(Object {
        key,
        api_version: kind.api_version(),
        value: Value::Object(value),
        version,
        file: None,
    })
}

/// The name of a received object.
pub(super) fn key(kind: &ServedKind, meta: &ObjectMeta) -> Option<ObjectRef> {
    Some(ObjectRef {
        kind: kind.kind.clone(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone()?,
    })
}
