//! Lists, watches and writes.

use serde_json::{Map, Value, json};
use weft_agent::store::{Object, ObjectRef, Reader, Store, StoreError};

use crate::rig::{Server, until};
use crate::told::Told;

pub fn net_namespace(name: &str, netid: u32) -> String {
    json!({
        "apiVersion": "network.openshift.io/v1", "kind": "NetNamespace", "metadata": {"name": name},
        "netname": name, "netid": netid,
    })
    .to_string()
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// One story on one server, since a server takes seconds to start.
#[test]
fn objects_are_listed_watched_and_written() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    let store = server.store(Reader::Controller);

    // Without a watch, the server is asked.
    let listing = store.list().unwrap();
    let one = listing.get("NetNamespace", "", "one").unwrap();
    assert_eq!(
        one.value["apiVersion"], "network.openshift.io/v1",
        "put back: items of a list lack it"
    );
    assert_eq!(one.value["kind"], "NetNamespace");
    assert_eq!(
        one.value["metadata"]["resourceVersion"],
        one.version.as_str()
    );
    assert_eq!(
        one.value["metadata"]["managedFields"],
        Value::Null,
        "not kept"
    );
    assert!(
        one.annotation("kubectl.kubernetes.io/last-applied-configuration")
            .is_some(),
        "a write would lose it"
    );
    let default = listing.get("Namespace", "", "default").unwrap();
    let metadata = default.value["metadata"].as_object().unwrap();
    let kept: Vec<_> = metadata.keys().map(String::as_str).collect();
    assert_eq!(
        kept,
        ["labels", "name", "resourceVersion", "uid"],
        "nothing more of a Namespace is used"
    );

    // A watch tells what there is, then what changes, and then answers the lists.
    let mut told = Told::by(&store);
    told.until("all that there is", |told| told.listed);
    assert_eq!(told.netid("one"), Some(11));
    assert!(told.object("Namespace", "default").is_some());
    assert!(told.object("ClusterNetwork", "default").is_none());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"big": "x"}}});
    server.apply(&node.to_string());
    let addresses = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.7"}], "phase": "Running"}});
    server.kubectl(&[
        "patch",
        "node",
        "n1",
        "--subresource=status",
        "--type=merge",
        "-p",
        &addresses.to_string(),
    ]);
    let address = |told: &Told| {
        let node = told.object("Node", "n1")?;
        Some(
            node.value
                .pointer("/status/addresses/0/address")?
                .as_str()?
                .to_owned(),
        )
    };
    told.until("the node's address", |told| {
        address(told).is_some_and(|it| it == "192.0.2.7")
    });
    let node = told.object("Node", "n1").unwrap();
    assert_eq!(
        node.value["status"].as_object().unwrap().len(),
        1,
        "only the addresses: {}",
        node.value
    );
    assert_eq!(
        store
            .get(&ObjectRef::cluster("Node", "n1"))
            .unwrap()
            .as_ref(),
        Some(node)
    );

    // Created: at once in the list, and told.
    let two = Object::cluster(
        "network.openshift.io/v1",
        "NetNamespace",
        "two",
        fields(&json!({"netname": "two", "netid": 12})),
    );
    let two = store.create(&two).unwrap();
    assert_eq!(
        store.list().unwrap().get("NetNamespace", "", "two"),
        Some(&two),
        "a write is seen at once"
    );
    told.until("the new object", |told| told.netid("two").is_some());
    let again = store.create(&two).unwrap_err();
    assert!(matches!(again, StoreError::Exists { .. }), "{again}");

    // Updated: only on top of the version that was read.
    let mut newer = Object::clone(&two);
    newer.set_field("netid", json!(13));
    let newer = store.update(&newer).unwrap();
    assert_ne!(newer.version, two.version);
    let mut late = Object::clone(&two);
    late.set_field("netid", json!(14));
    let error = store.update(&late).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    let error = store.delete(&two).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    told.until("the update", |told| told.netid("two") == Some(13));

    // Behind a command's watch: after a conflict its next try is based on what the server has.
    let command = server.store(Reader::PodNetwork);
    let mut seen = Told::by(&command);
    seen.until("its own view", |seen| seen.netid("two") == Some(13));
    server.kubectl(&["annotate", "netnamespace", "two", "a=b"]);
    let mut retry = Object::clone(&newer);
    retry.set_field("netid", json!(15));
    let error = command.update(&retry).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    retry
        .version
        .clone_from(&command.get(&newer.key).unwrap().unwrap().version);
    command.update(&retry).unwrap();
    told.until("the second try", |told| told.netid("two") == Some(15));

    // Removed: at once out of the list, and told once.
    let current = store.get(&newer.key).unwrap().unwrap();
    store.delete(&current).unwrap();
    assert!(
        store
            .list()
            .unwrap()
            .get("NetNamespace", "", "two")
            .is_none(),
        "a removal is seen at once"
    );
    told.until("the removal", |told| told.netid("two").is_none());
    let error = store.delete(&current).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    let error = store.update(&current).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");

    // What the schema refuses, says the server's own words.
    let bad = Object::cluster(
        "network.openshift.io/v1",
        "NetNamespace",
        "bad",
        fields(&json!({"netname": "b", "netid": -1})),
    );
    let error = store.create(&bad).unwrap_err().to_string();
    assert!(
        error.contains("NetNamespace/bad") && error.contains("netid"),
        "{error}"
    );
    let whole = store
        .get(&ObjectRef::cluster("Namespace", "default"))
        .unwrap()
        .unwrap();
    let error = store.update(&whole).unwrap_err();
    assert!(
        matches!(error, StoreError::Unwritable { .. }),
        "a part would take the rest away: {error}"
    );

    // Held back by a finalizer, an object stays until that is gone.
    let held = json!({"metadata": {"finalizers": ["weft.test/wait"]}});
    server.kubectl(&[
        "patch",
        "netnamespace",
        "one",
        "--type=merge",
        "-p",
        &held.to_string(),
    ]);
    let finalizer = |object: &Object| object.value.pointer("/metadata/finalizers/0").is_some();
    told.until("the finalizer", |told| {
        told.object("NetNamespace", "one")
            .is_some_and(|o| finalizer(o))
    });
    let one = store
        .get(&ObjectRef::cluster("NetNamespace", "one"))
        .unwrap()
        .unwrap();
    store.delete(&one).unwrap();
    let marked = store.get(&one.key).unwrap().unwrap();
    assert!(
        marked
            .value
            .pointer("/metadata/deletionTimestamp")
            .is_some(),
        "{}",
        marked.value
    );
    let free = json!({"metadata": {"finalizers": null}});
    server.kubectl(&[
        "patch",
        "netnamespace",
        "one",
        "--type=merge",
        "-p",
        &free.to_string(),
    ]);
    told.until("the end of the object", |told| told.netid("one").is_none());
    assert!(told.problems.is_empty(), "{:?}", told.problems);
}

#[test]
fn the_agent_is_told_of_policies_and_nothing_else() {
    let server = Server::new();
    server.kubectl(&["create", "namespace", "shop"]);
    let policy = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]},
    });
    server.apply(&policy.to_string());
    let store = server.store(Reader::Agent);
    let mut told = Told::by(&store);
    told.until("all that there is", |told| told.listed);
    let kinds: Vec<_> = told.objects.keys().map(ToString::to_string).collect();
    assert_eq!(
        kinds,
        ["EgressNetworkPolicy/shop/default"],
        "no Namespaces, no Nodes"
    );
    // It keeps no objects, but a list is right all the same.
    until("the list has the policy", || {
        let listing = store.list().unwrap();
        listing
            .get("EgressNetworkPolicy", "shop", "default")
            .map(|_| ())
    });
    server.kubectl(&["delete", "namespace", "shop", "--wait=false"]);
    server.kubectl(&["delete", "egressnetworkpolicy", "default", "-n", "shop"]);
    told.until("the removal", |told| told.objects.is_empty());
    assert!(store.stale().as_secs() < 60, "{:?}", store.stale());
}
