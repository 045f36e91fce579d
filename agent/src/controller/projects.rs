//! A NetNamespace for every Namespace, and change-network requests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use weft_core::model::{Kind, ObjectRef, Vnid};

use super::annotations::{CHANGE_NETWORK, NAMESPACE_UID, Outcome, REQUEST_ID, Verdict};
use super::change_network::decide;
use super::plan::{Plan, Write};
use super::reports::News;
use super::vnid_allocator::{Random, allocate};
use crate::ingest::{API_VERSION, net_namespace};
use crate::store::{Listing, Object};

const KIND: Kind = Kind::NetNamespace;

/// Plans NetNamespaces in a mode that has them.
pub(super) fn plan(
    listing: &Listing,
    seen: &mut BTreeSet<String>,
    random: Random<'_>,
    plan: &mut Plan,
) {
    let namespaces: BTreeMap<&str, &Object> = listing
        .of_kind(Kind::Namespace)
        .map(|object| (object.key.name.as_str(), object.as_ref()))
        .collect();
    seen.extend(namespaces.keys().map(|name| (*name).to_owned()));
    let mut vnids = BTreeMap::new();
    let mut kept = Vec::new();
    // Numbers of invalid objects, and of those deleted now, are not given away in this pass.
    let mut taken: BTreeSet<u32> = listing.of_kind(KIND).filter_map(|o| raw_vnid(o)).collect();
    for object in listing.of_kind(KIND) {
        let name = &object.key.name;
        let ours = object.annotation(NAMESPACE_UID).is_some() || seen.contains(name);
        if !namespaces.contains_key(name.as_str()) && ours {
            plan.write(
                Write::Delete,
                Object::clone(object),
                "its Namespace is gone",
            );
            continue;
        }
        match net_namespace(object) {
            Ok(valid) => drop(vnids.insert(name.clone(), valid.value.vnid.number())),
            Err(error) => plan.problem(&object.key, format!("{error}: mend it")),
        }
        kept.push(object);
    }
    let held: BTreeSet<&str> = listing.of_kind(KIND).map(|o| o.key.name.as_str()).collect();
    seen.retain(|name| namespaces.contains_key(name.as_str()) || held.contains(name.as_str()));
    for (name, namespace) in &namespaces {
        if !held.contains(name) {
            create(name, namespace, (&mut vnids, &mut taken), random, plan);
        }
    }
    for object in kept {
        let Some(request) = object.annotation(CHANGE_NETWORK) else {
            continue;
        };
        let name = &object.key.name;
        let fresh = || allocate(&mut taken, random);
        let decision = decide(name, request, &vnids, fresh);
        if let Ok(to) = decision {
            vnids.insert(name.clone(), to);
        }
        answer(object, request, decision, plan);
    }
}

/// Refuses all requests in a mode without networks of projects.
pub(super) fn refuse_all(listing: &Listing, plan: &mut Plan) {
    for object in listing.of_kind(KIND) {
        if let Some(request) = object.annotation(CHANGE_NETWORK) {
            let why = "the cluster network is not in the multitenant mode".to_owned();
            answer(object, request, Err(why), plan);
        }
    }
}

fn create(
    name: &str,
    namespace: &Object,
    (vnids, taken): (&mut BTreeMap<String, u32>, &mut BTreeSet<u32>),
    random: Random<'_>,
    plan: &mut Plan,
) {
    let vnid = if name == "default" {
        Some(Vnid::GLOBAL.number())
    } else {
        allocate(taken, random)
    };
    let Some(vnid) = vnid else {
        let message = "all network numbers are taken: remove projects; the project stays closed";
        return plan.problem(ObjectRef::cluster(Kind::Namespace, name), message);
    };
    vnids.insert(name.to_owned(), vnid);
    let mut fields = Map::new();
    fields.insert("netname".into(), name.into());
    fields.insert("netid".into(), vnid.into());
    let mut object = Object::cluster(API_VERSION, KIND, name, fields);
    object.set_annotation(NAMESPACE_UID, Some(uid(namespace)));
    plan.write(Write::Create, object, format!("new project, VNID {vnid}"));
}

/// One update carries the change out, removes the request and says what became of it.
fn answer(object: &Object, request: &str, decision: Result<u32, String>, plan: &mut Plan) {
    let from = raw_vnid(object);
    let (outcome, to, reason) = match decision {
        Ok(to) => (Verdict::Applied, Some(to), None),
        Err(reason) => (Verdict::Refused, None, Some(reason)),
    };
    let why = match (&reason, to) {
        (Some(reason), _) => format!("{request} refused: {reason}"),
        (None, to) => format!("{request} applied: VNID {from:?} to {to:?}"),
    };
    let occasion = object.version.clone();
    let news = match (&reason, to) {
        (None, Some(to)) => {
            let note = format!("{request}: the project's network has number {to} now");
            News::normal("NetworkChanged", note, occasion)
        }
        _ => News::warning("ChangeNetworkRefused", why.clone(), occasion),
    };
    let mut object = object.clone();
    let id = object.annotation(REQUEST_ID).map(str::to_owned);
    if let Some(to) = to {
        object.set_field("netid", json!(to));
    }
    let result = Outcome {
        request: request.to_owned(),
        id,
        outcome,
        reason,
        from,
        to,
    };
    result.write(&mut object);
    plan.update_and_tell(object, why, news);
}

/// The number an object claims, valid or not in other respects.
fn raw_vnid(object: &Object) -> Option<u32> {
    let netid = object.value.get("netid").and_then(Value::as_u64)?;
    Vnid::new(netid).ok().map(Vnid::number)
}

/// The UID of an object, or its name where nobody gave it one.
pub(super) fn uid(object: &Object) -> &str {
    let uid = object.value.pointer("/metadata/uid");
    let uid = uid.and_then(Value::as_str).filter(|uid| !uid.is_empty());
    uid.unwrap_or(&object.key.name)
}
