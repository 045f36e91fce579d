//! Conditions beside other writers of the same status, and beside those that read only the rules.

use std::time::{Duration, Instant};

use serde_json::json;
use weft_agent::ingest;
use weft_agent::store::Reader;

use super::{OF_A, PATIENT, Scene};
use crate::older::old_kind;
use crate::rig::until;

#[test]
fn another_writer_is_put_right_and_not_fought() {
    let scene = Scene::new("");
    scene.policy("a", "default", "192.0.2.0/24");
    let condition = scene.until(&OF_A, "True InForce");
    let foreign = json!({"type": "example.com/Seen", "status": "True", "reason": "Seen", "message": "",
                         "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut wrong = condition.clone();
    wrong["status"] = "False".into();
    let mut versions = std::collections::BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(8);
    while Instant::now() < deadline {
        let patch = json!({"status": {"conditions": [wrong, foreign]}}).to_string();
        scene.server.kubectl(&[
            "patch",
            OF_A[0],
            OF_A[1],
            OF_A[2],
            OF_A[3],
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
        let now = scene.get(&OF_A).unwrap();
        versions.insert(
            now["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let right = until("it is put right", || {
        let object = scene.get(&OF_A).unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap().clone();
        conditions
            .iter()
            .any(|it| it["reason"] == "InForce" && it["status"] == "True")
            .then_some(conditions)
    });
    assert!(
        right.iter().any(|it| it["type"] == "example.com/Seen"),
        "that of another writer stays: {right:?}"
    );
    // With 1, 2 and 4 s between them, three at most within eight seconds; each makes two versions, our own and the next of theirs.
    assert!(versions.len() <= 8, "{versions:?}");
    assert_eq!(scene.events("EgressNetworkPolicy", "default"), [""; 0]);
}

#[test]
fn a_status_is_no_change_of_a_policy() {
    let scene = Scene::new("");
    let store = scene.server.store(Reader::Agent);
    let (to, events) = std::sync::mpsc::channel();
    let _ingest = ingest::spawn(&store, to).unwrap();
    let changed = |what: &str, within: Duration| {
        let deadline = Instant::now() + within;
        while let Ok(event) =
            events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let ingest::Event::Changes(changes) = event
                && changes.iter().any(|it| format!("{it:?}").contains(what))
            {
                return true;
            }
        }
        false
    };
    scene.policy("a", "default", "192.0.2.0/24");
    assert!(changed("Policy(\"a\"", PATIENT));
    scene.until(&OF_A, "True InForce");
    scene.policy("a", "more", "192.0.2.0/24");
    scene.until(&OF_A, "False SeveralPolicies");
    scene.until(
        &["egressnetworkpolicy", "more", "-n", "a"],
        "False SeveralPolicies",
    );
    assert!(changed("\"more\"", PATIENT));
    // Whatever came of the status before this one is told before it.
    let mut statuses = 0;
    scene.policy("b", "last", "192.0.2.0/24");
    let deadline = Instant::now() + PATIENT;
    loop {
        let event = events
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .unwrap();
        let ingest::Event::Changes(changes) = event else {
            continue;
        };
        let text = format!("{changes:?}");
        statuses += usize::from(text.contains("Policy(\"a\""));
        if text.contains("\"last\"") {
            break;
        }
    }
    assert_eq!(
        statuses, 0,
        "the status of a policy was taken for another policy"
    );
}

/// What was stored before there was a schema may break it, and then the server takes no status of it.
#[test]
fn an_object_that_the_schema_refuses_does_not_keep_the_others_from_having_conditions() {
    let scene = Scene::new("");
    let server = &scene.server;
    let old = old_kind("HostSubnet", "hostsubnets", "Cluster");
    server.apply(&old.to_string());
    let subnet = |name: &str, host: &str, last: u8| {
        json!({
            "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": name},
            "host": host, "hostIP": format!("192.0.2.{last}"), "subnet": format!("192.168.{last}.0/24"),
        })
        .to_string()
    };
    // The server follows its own definitions, after a moment.
    let apply = ["apply", "-f", "-"];
    until("the old kind takes it", || {
        let broken = subnet("a-broken", "another", 1);
        server.try_kubectl_at(6443, &apply, &broken).ok()
    });
    server.install_kinds();
    until("the new kind refuses it", || {
        let touch = ["annotate", "hostsubnet", "a-broken", "--overwrite", "x=y"];
        server.try_kubectl_at(6443, &touch, "").err()
    });

    server.apply(&subnet("b", "b", 2));
    scene.until(&["hostsubnet", "b"], "False Invalid");
    let broken = scene.get(&["hostsubnet", "a-broken"]).unwrap();
    assert!(broken["status"].is_null(), "it has none to this day");
    assert_eq!(
        scene.events("HostSubnet", "a-broken"),
        ["Warning Invalid"],
        "told once, although its status is tried again"
    );
}
