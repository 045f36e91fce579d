//! What the node's own HostSubnet says of policies that are not in force.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weft_core::model::{Kind, ObjectRef};

use crate::api::Unenforced;
use crate::store::Delta;

/// The field in the status of a HostSubnet.
pub const FIELD: &str = "policiesNotInForce";
/// What the API server takes: deploy/crds/hostsubnets.yaml.
const ITEMS: usize = 100;
const REASON: usize = 512;

/// What the object says, as far as the watch has told.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Said {
    /// There is no such object.
    #[default]
    Nowhere,
    /// The field's value; null where it is absent.
    Field(Value),
}

impl Said {
    /// Takes a change of any object in.
    pub fn take(&mut self, node: &str, delta: &Delta) {
        let key = match delta {
            Delta::Put(object) => &object.key,
            Delta::Gone(key) => key,
        };
        if *key != ObjectRef::cluster(Kind::HostSubnet, node) {
            return;
        }
        *self = match delta {
            Delta::Put(object) => {
                let status = object.value.get("status");
                let field = status.and_then(|status| status.get(FIELD));
                Self::Field(field.cloned().unwrap_or_default())
            }
            Delta::Gone(_) => Self::Nowhere,
        };
    }

    /// The policies that the object names.
    pub(super) fn policies(&self) -> BTreeSet<ObjectRef> {
        let list = match self {
            Self::Field(value) => value.as_array(),
            Self::Nowhere => None,
        };
        let items = list.into_iter().flatten();
        let policy = |item: &Value| {
            let (namespace, name) = (item["namespace"].as_str()?, item["name"].as_str()?);
            Some(ObjectRef::egress_policy(namespace, name))
        };
        items.filter_map(policy).collect()
    }
}

/// The field's value for these policies, the first hundred of them; null if there are none.
pub(super) fn field<'a>(policies: impl Iterator<Item = &'a Unenforced>) -> Value {
    let items = policies.take(ITEMS).map(|it| {
        let reason = it.reason.get(..it.reason.floor_char_boundary(REASON));
        let reason = reason.unwrap_or(&it.reason);
        json!({"namespace": it.object.namespace, "name": it.object.name, "reason": reason})
    });
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        Value::Null
    } else {
        Value::Array(items)
    }
}
