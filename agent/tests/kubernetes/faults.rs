//! The server away, its history gone, our kinds unknown, our rights too narrow.

use serde_json::json;
use weft_agent::store::{Kubernetes, Reader, Store as _};

use crate::rig::{Server, until};
use crate::store::net_namespace;
use crate::told::Told;

#[test]
fn a_server_that_dies_takes_nothing_with_it() {
    let mut server = Server::new();
    server.apply(&net_namespace("one", 11));
    let store = server.store(Reader::Agent);
    let mut told = Told::by(&store);
    told.until("all that there is", |told| {
        told.listed && told.netid("one").is_some()
    });
    server.kill();
    told.until("a problem", |told| !told.problems.is_empty());
    let [problem] = told.problems.as_slice() else {
        panic!("one server, one problem: {:?}", told.problems);
    };
    let address = format!(
        "API server https://{}:6443: does not answer since 2",
        server.address()
    );
    assert!(problem.starts_with(&address), "{problem}");
    assert!(problem.contains("stays in force"), "{problem}");
    server.start();
    told.until("the problem is taken back", |told| told.problems.is_empty());
    server.apply(&net_namespace("two", 12));
    told.until("news again", |told| told.netid("two").is_some());
    assert_eq!(
        told.deltas,
        ["+NetNamespace/one", "+NetNamespace/two"],
        "nothing was taken back or told twice"
    );
}

#[test]
fn a_server_that_is_away_at_the_start_is_waited_for() {
    let mut server = Server::new();
    server.apply(&net_namespace("one", 11));
    server.kill();
    let store = server.store(Reader::Agent);
    let mut told = Told::by(&store);
    told.until("a problem", |told| !told.problems.is_empty());
    assert!(!told.listed);
    let error = store.list().unwrap_err().to_string();
    assert!(
        error.starts_with("list clusternetworks.network.openshift.io at https://127."),
        "{error}"
    );
    server.start();
    told.until("all that there is", |told| {
        told.listed && told.netid("one").is_some()
    });
    told.until("no problem any more", |told| told.problems.is_empty());
}

/// What happened while the watch was broken, and is not in the server's memory any more, is found by a new list.
#[test]
fn history_that_is_gone_is_made_up_for() {
    let mut server = Server::new();
    for (name, netid) in [
        ("stays", 11),
        ("changes", 12),
        ("goes", 13),
        ("returns", 14),
    ] {
        server.apply(&net_namespace(name, netid));
    }
    let store = server.store(Reader::Agent);
    let mut told = Told::by(&store);
    told.until("all that there is", |told| {
        told.listed && told.objects.len() == 4
    });
    told.deltas.clear();
    server.kill();
    told.until("a problem", |told| !told.problems.is_empty());
    // Where the watch does not find it.
    server.start_at(7443);
    server.apply_at(7443, &net_namespace("changes", 22));
    for name in ["goes", "returns"] {
        server
            .try_kubectl_at(7443, &["delete", "netnamespace", name], "")
            .unwrap();
    }
    server.apply_at(7443, &net_namespace("returns", 24));
    server.apply_at(7443, &net_namespace("new", 25));
    server.compact();
    server.kill();
    server.start();
    told.until("the new state", |told| {
        told.netid("goes").is_none()
            && told.netid("changes") == Some(22)
            && told.netid("new").is_some()
    });
    told.until("the problem is taken back", |told| told.problems.is_empty());
    told.drain();
    let mut deltas = told.deltas.clone();
    deltas.sort();
    let expected = [
        "+NetNamespace/changes",
        "+NetNamespace/new",
        "+NetNamespace/returns",
        "-NetNamespace/goes",
    ];
    assert_eq!(deltas, expected, "the differences and nothing else");
    assert_eq!(told.netid("returns"), Some(24));
}

#[test]
fn kinds_that_the_server_does_not_know_are_named() {
    let server = Server::without_kinds();
    let store = server.store(Reader::Agent);
    let mut told = Told::by(&store);
    told.until("a problem for each kind", |told| told.problems.len() == 4);
    for resource in [
        "clusternetworks",
        "hostsubnets",
        "netnamespaces",
        "egressnetworkpolicies",
    ] {
        let named = told
            .problems
            .iter()
            .find(|p| p.contains(&format!("{resource}.network.openshift.io")));
        let named = named.unwrap_or_else(|| panic!("{resource}: {:?}", told.problems));
        assert!(named.contains("deploy/crds"), "the remedy: {named}");
    }
    assert!(!told.listed, "nothing may be taken for absent");
    let error = store.list().unwrap_err().to_string();
    assert!(
        error.contains("has no resource clusternetworks.network.openshift.io"),
        "{error}"
    );
    server.install_kinds();
    told.until("all that there is", |told| told.listed);
    told.until("the problems are taken back", |told| {
        told.problems.is_empty()
    });
}

#[test]
fn rights_that_are_too_narrow_are_named() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    let role = |verbs: &[&str], resources: &[&str]| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "weft-test"},
            "rules": [{"apiGroups": ["network.openshift.io"], "resources": resources, "verbs": verbs}],
        })
        .to_string()
    };
    let some = ["clusternetworks", "netnamespaces", "egressnetworkpolicies"];
    server.apply(&role(&["get", "list", "watch"], &some));
    server.kubectl(&[
        "create",
        "clusterrolebinding",
        "weft-test",
        "--clusterrole=weft-test",
        "--user=limited",
    ]);
    let store = Kubernetes::open(&server.access("limited"), Reader::Agent).unwrap();
    let mut told = Told::by(&store);
    told.until("a problem", |told| {
        told.problems.len() == 1 && told.netid("one").is_some()
    });
    let problem = &told.problems[0];
    for part in [
        "\"limited\"",
        "cannot list",
        "hostsubnets",
        "let this account list and watch hostsubnets",
    ] {
        assert!(problem.contains(part), "{part}: {problem}");
    }
    assert!(!told.listed);
    assert!(store.behind() > std::time::Duration::ZERO);
    let mut object = weft_agent::store::Object::clone(told.object("NetNamespace", "one").unwrap());
    object.set_field("netid", json!(12));
    let error = store.update(&object).unwrap_err().to_string();
    assert!(
        error.contains("cannot update") && error.contains("netnamespaces"),
        "{error}"
    );

    // A list that works says nothing about the watch.
    let all = [
        "clusternetworks",
        "netnamespaces",
        "egressnetworkpolicies",
        "hostsubnets",
    ];
    server.apply(&role(&["get", "list"], &all));
    told.until("the watch is refused", |told| {
        told.problems.iter().any(|p| p.contains("cannot watch"))
    });
    server.apply(&role(&["get", "list", "watch"], &all));
    told.until("all that there is", |told| told.listed);
    told.until("the problems are taken back", |told| {
        told.problems.is_empty()
    });
    assert_eq!(store.behind(), std::time::Duration::ZERO);
}

#[test]
fn wrong_credentials_are_told_from_an_absent_server() {
    let server = Server::new();
    let store = Kubernetes::open(&server.access("nobody"), Reader::Agent).unwrap();
    let mut told = Told::by(&store);
    told.until("a problem", |told| !told.problems.is_empty());
    until("every kind has failed", || {
        told.drain();
        (told.problems.len() == 1).then_some(())
    });
    assert!(
        told.problems[0].contains("does not accept our credentials since 2"),
        "{:?}",
        told.problems
    );
}
