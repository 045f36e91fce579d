use std::fs;
use std::path::PathBuf;

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
