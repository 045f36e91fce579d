use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::change::{Change, Field, overwrites, patch};
use super::*;

fn directory() -> (PathBuf, Manifests) {
    let path = std::env::temp_dir().join(format!("weft-objects-{:x}", rand::random::<u64>()));
    fs::create_dir(&path).unwrap();
    (path.clone(), Manifests::at(path))
}

fn policy() -> Object {
    let text =
        "apiVersion: v1\nkind: EgressNetworkPolicy\nmetadata: {name: p}\nspec: {egress: []}\n";
    parse(text, "test").unwrap().remove(0)
}

#[test]
fn applying_again_keeps_identity_and_status() {
    let (path, manifests) = directory();
    let mut first = policy();
    first.set_field("status", "old".into());
    manifests.apply(&first).unwrap();
    let get = || {
        manifests
            .get("egressnetworkpolicies", "default", "p")
            .unwrap()
            .unwrap()
    };
    let uid = get().value["metadata"]["uid"].clone();
    assert!(uid.is_string());
    let mut second = policy();
    second.set_field("spec", "new".into());
    manifests.apply(&second).unwrap();
    let found = get();
    assert_eq!(found.value["metadata"]["uid"], uid);
    assert_eq!(
        (&found.value["status"], &found.value["spec"]),
        (&"old".into(), &"new".into())
    );
    manifests
        .delete("EgressNetworkPolicy", "default", "p")
        .unwrap();
    let error = manifests
        .delete("EgressNetworkPolicy", "default", "p")
        .unwrap_err();
    assert_eq!(error.to_string(), "no EgressNetworkPolicy default/p");
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_text_with_one_bad_document_gives_no_objects() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: Pod\n";
    let error = parse(text, "f").unwrap_err().to_string();
    assert!(error.starts_with("f: document 2: apiVersion"), "{error}");
}

#[test]
fn a_patch_changes_fields_and_nothing_that_tells_what_it_is() {
    let (path, manifests) = directory();
    let mut first = policy();
    first.set_field("status", "old".into());
    manifests.apply(&first).unwrap();
    let patch = |patch: Value| manifests.patch("EgressNetworkPolicy", "default", "p", &patch);
    let spec = json!({"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]});
    let new =
        patch(json!({"spec": spec, "status": "new", "metadata": {"labels": {"a": "b"}}})).unwrap();
    assert_eq!(
        (&new.value["spec"], &new.value["status"]),
        (&spec, &"old".into())
    );
    assert_eq!(new.label("a"), Some("b"));
    let new = patch(json!({"metadata": {"labels": null}})).unwrap();
    assert_eq!((new.label("a"), &new.value["spec"]), (None, &spec));
    for (other, why) in [
        (
            json!({"metadata": {"name": "q"}}),
            "apiVersion, kind, namespace and name cannot change",
        ),
        (
            json!({"kind": "Pod"}),
            "apiVersion, kind, namespace and name cannot change",
        ),
        (json!({"metadata": null}), "no metadata"),
        (json!([]), "it is no JSON object"),
    ] {
        let error = patch(other.clone()).unwrap_err().to_string();
        assert!(error.contains(why), "{other}: {error}");
    }
    let missing = manifests.patch("EgressNetworkPolicy", "default", "q", &json!({}));
    assert_eq!(
        missing.unwrap_err().to_string(),
        "no EgressNetworkPolicy default/q"
    );
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn annotations_are_set_and_removed_as_kubectl_does_it() {
    let changes: Vec<Change> = ["a=1", "b=x=y", "c-"]
        .map(|it| it.parse().unwrap())
        .to_vec();
    assert_eq!(
        patch(Field::Labels, &changes),
        json!({"metadata": {"labels": {"a": "1", "b": "x=y", "c": null}}})
    );
    for bad in ["a", "=1", "-", ""] {
        bad.parse::<Change>().unwrap_err();
    }
    let mut object = policy();
    object.value["metadata"]["annotations"] = json!({"a": "2", "c": "3"});
    let first = overwrites(Field::Annotations, &changes, &object).unwrap();
    assert_eq!(first.key, "a");
    assert_eq!(overwrites(Field::Annotations, &changes[1..], &object), None);
    object.value["metadata"]["annotations"]["a"] = "1".into();
    assert_eq!(overwrites(Field::Annotations, &changes, &object), None);
}
