//! Listing and writing.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::net_namespace;
use crate::store::scratch::Scratch;
use crate::store::{Manifests, Object, ObjectRef, Store, StoreError};

fn keys(store: &dyn Store) -> Vec<String> {
    let listing = store.list().unwrap();
    listing.objects.iter().map(|o| o.key.to_string()).collect()
}

fn problems(store: &dyn Store) -> String {
    let listing = store.list().unwrap();
    let lines = listing.problems.iter();
    let lines: Vec<String> = lines
        .map(|p| format!("{}: {}", p.object, p.message))
        .collect();
    lines.join("\n")
}

fn get(store: &dyn Store, name: &str) -> Object {
    let listing = store.list().unwrap();
    Object::clone(listing.get("NetNamespace", "", name).unwrap())
}

#[test]
fn only_manifests_are_read() {
    let dir = Scratch::new();
    dir.write("a.yaml", net_namespace("a", 1));
    dir.write("b.yml", net_namespace("b", 2));
    dir.write(
        "c.json",
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"c\"}}",
    );
    dir.write(".hidden.yaml", net_namespace("h", 3));
    dir.write(".tmp-1", "x");
    dir.write("notes.txt", "x");
    dir.write("old.yaml~", "x");
    dir.write("empty.yaml", "# later\n");
    std::fs::create_dir(dir.path().join("d.yaml")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("f.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let store = Manifests::new(dir.path());
    assert_eq!(
        keys(&store),
        ["Namespace/c", "NetNamespace/a", "NetNamespace/b"]
    );
    assert_eq!(problems(&store), "");
}

#[test]
fn a_broken_file_keeps_its_last_good_objects() {
    let dir = Scratch::new();
    dir.write(
        "a.yaml",
        net_namespace("a", 1) + "---\n" + &net_namespace("b", 2),
    );
    let store = Manifests::new(dir.path());
    assert_eq!(keys(&store).len(), 2);
    for broken in [b"kind: [".as_slice(), b"\xff\xfe", b"a: 1"] {
        dir.write("a.yaml", broken);
        assert_eq!(keys(&store), ["NetNamespace/a", "NetNamespace/b"]);
        let problems = problems(&store);
        assert!(
            problems.contains("a.yaml: ") && problems.contains("2 objects"),
            "{problems}"
        );
    }
    dir.write("a.yaml", net_namespace("b", 2));
    assert_eq!(keys(&store), ["NetNamespace/b"]);
    assert_eq!(problems(&store), "");
}

#[test]
fn an_object_defined_twice_stays_where_it_was_first() {
    let dir = Scratch::new();
    dir.write("m.yaml", net_namespace("a", 1));
    let store = Manifests::new(dir.path());
    assert_eq!(get(&store, "a").value["netid"], 1);
    dir.write("b.yaml", net_namespace("a", 2));
    assert_eq!(get(&store, "a").value["netid"], 1, "the one in force stays");
    assert!(problems(&store).contains("NetNamespace/a: is defined in "));
    assert!(problems(&store).contains("b.yaml too"));

    let cold = Manifests::new(dir.path());
    assert_eq!(get(&cold, "a").value["netid"], 2, "first file by name");

    std::fs::remove_file(dir.path().join("m.yaml")).unwrap();
    assert_eq!(get(&store, "a").value["netid"], 2);
    assert_eq!(problems(&store), "");
}

#[test]
fn an_object_twice_in_one_file_is_reported() {
    let dir = Scratch::new();
    dir.write(
        "a.yaml",
        net_namespace("a", 1) + "---\n" + &net_namespace("a", 2),
    );
    let store = Manifests::new(dir.path());
    assert_eq!(get(&store, "a").value["netid"], 1);
    assert!(problems(&store).contains("more than once"));
}

#[test]
fn an_update_needs_the_version_it_is_based_on() {
    let dir = Scratch::new();
    let rest = "---\n# kept\n".to_owned() + &net_namespace("b", 2);
    dir.write("a.yaml", net_namespace("a", 1) + &rest);
    let path = dir.path().join("a.yaml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (store, other) = (Manifests::new(dir.path()), Manifests::new(dir.path()));
    let (mut mine, mut theirs) = (get(&store, "a"), get(&other, "a"));
    mine.set_field("netid", json!(5));
    theirs.set_field("netid", json!(6));
    let written = store.update(&mine).unwrap();
    assert_eq!(written.value["netid"], 5);
    assert!(matches!(
        other.update(&theirs),
        Err(StoreError::Conflict { .. })
    ));
    assert!(matches!(
        other.delete(&theirs),
        Err(StoreError::Conflict { .. })
    ));
    assert!(dir.read("a.yaml").ends_with(&rest));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(
        dir.names(),
        [".lock", "a.yaml"],
        "no temporary file is left"
    );

    store.delete(&written).unwrap();
    assert_eq!(dir.read("a.yaml"), rest);
    assert_eq!(keys(&other), ["NetNamespace/b"]);
    assert!(matches!(
        store.delete(&written),
        Err(StoreError::NotFound { .. })
    ));
}

#[test]
fn a_created_object_has_a_file_of_its_own() {
    let dir = Scratch::new();
    let store = Manifests::new(dir.path());
    let fields = json!({"netname": "a", "netid": 12})
        .as_object()
        .unwrap()
        .clone();
    let object = Object::cluster("network.openshift.io/v1", "NetNamespace", "a", fields);
    let written = store.create(&object).unwrap();
    assert_eq!(written.value, object.value);
    assert_eq!(dir.names(), [".lock", "netnamespace-a.yaml"]);
    assert!(matches!(
        store.create(&object),
        Err(StoreError::Exists { .. })
    ));
    store.delete(&written).unwrap();
    assert_eq!(dir.names(), [".lock"]);

    // A file that is in the way is not overwritten, whatever it holds.
    dir.write("netnamespace-a.yaml", "kind: [");
    assert!(matches!(
        store.create(&object),
        Err(StoreError::Exists { .. })
    ));
    assert_eq!(dir.read("netnamespace-a.yaml"), "kind: [");
}

#[test]
fn names_cannot_leave_the_directory() {
    let dir = Scratch::new();
    let store = Manifests::new(dir.path());
    for name in ["../x", "a/b", "", "A", ".", "a\0b"] {
        let object = Object::cluster("v1", "Namespace", name, serde_json::Map::new());
        assert!(
            matches!(store.create(&object), Err(StoreError::Unwritable { .. })),
            "{name:?}"
        );
    }
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn a_broken_file_is_not_written_to() {
    let dir = Scratch::new();
    dir.write("a.yaml", net_namespace("a", 1));
    let store = Manifests::new(dir.path());
    let object = get(&store, "a");
    dir.write("a.yaml", "kind: [");
    assert!(matches!(
        store.update(&object),
        Err(StoreError::Unparsable { .. })
    ));
    assert_eq!(dir.read("a.yaml"), "kind: [");
}

#[test]
fn a_link_is_written_through() {
    let (dir, elsewhere) = (Scratch::new(), Scratch::new());
    elsewhere.write("real.yaml", net_namespace("a", 1));
    let link = dir.path().join("a.yaml");
    std::os::unix::fs::symlink(elsewhere.path().join("real.yaml"), &link).unwrap();
    let store = Manifests::new(dir.path());
    let mut object = get(&store, "a");
    object.set_field("netid", json!(9));
    store.update(&object).unwrap();
    assert!(link.is_symlink());
    assert!(elsewhere.read("real.yaml").contains("netid: 9"));
}

#[test]
fn writers_in_parallel_lose_nothing() {
    let dir = Scratch::new();
    dir.write(
        "a.yaml",
        net_namespace("a", 0) + "---\n" + &net_namespace("b", 0),
    );
    std::thread::scope(|scope| {
        for name in ["a", "b", "a", "b"] {
            let store = Manifests::new(dir.path());
            scope.spawn(move || {
                let mut done = 0;
                while done < 10 {
                    let mut object = get(&store, name);
                    let next = object.value["netid"].as_u64().unwrap() + 1;
                    object.set_field("netid", json!(next));
                    match store.update(&object) {
                        Ok(_) => done += 1,
                        Err(StoreError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let store = Manifests::new(dir.path());
    assert_eq!(get(&store, "a").value["netid"], 20);
    assert_eq!(get(&store, "b").value["netid"], 20);
}

#[test]
fn a_missing_directory_is_an_error_that_names_it() {
    let store = Manifests::new("/nonexistent/manifests");
    let error = store.list().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/manifests"), "{error}");
    let object = Object::cluster("v1", "Namespace", "a", serde_json::Map::new());
    let error = store.create(&object).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/manifests"), "{error}");
    let key = ObjectRef::cluster("Namespace", "a");
    assert!(store.shared.lock().get(&key).is_none());
}
