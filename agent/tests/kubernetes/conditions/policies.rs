//! Whether an egress policy is in force, and why not.

use super::{OF_A, Scene};
use crate::rig::until;

#[test]
fn a_policy_says_whether_it_is_in_force() {
    let scene = Scene::new("");
    scene.policy("a", "default", "192.0.2.0/24");
    scene.until(&OF_A, "True InForce");
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        [""; 0],
        "nothing is wrong"
    );

    scene.policy("a", "more", "192.0.2.0/24");
    let several = scene.until(&OF_A, "False SeveralPolicies");
    let message = several["message"].as_str().unwrap();
    assert!(
        message.contains("default, more") && message.contains("nothing of the project leaves"),
        "{message}"
    );
    scene.until(
        &["egressnetworkpolicy", "more", "-n", "a"],
        "False SeveralPolicies",
    );
    // Looks of the controller at the same; none of them makes another event or write.
    let before = scene.get(&OF_A).unwrap();
    for n in 0..5 {
        scene.server.kubectl(&[
            "annotate",
            "namespace",
            "b",
            "--overwrite",
            &format!("n={n}"),
        ]);
        scene.server.kubectl(&[
            "annotate",
            OF_A[0],
            "more",
            "-n",
            "a",
            "--overwrite",
            &format!("n={n}"),
        ]);
    }
    scene.policy("b", "default", "192.0.2.0/24");
    scene.until(
        &["egressnetworkpolicy", "default", "-n", "b"],
        "True InForce",
    );
    assert_eq!(
        scene.get(&OF_A).unwrap()["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    scene
        .server
        .kubectl(&["delete", "egressnetworkpolicy", "more", "-n", "a"]);
    let mended = scene.until(&OF_A, "True InForce");
    assert!(mended["lastTransitionTime"].as_str() >= several["lastTransitionTime"].as_str());
    until("the event that it is mended", || {
        (scene.events("EgressNetworkPolicy", "default").len() == 2).then_some(())
    });
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        ["Warning SeveralPolicies", "Normal InForce"]
    );
    let shown = scene.server.kubectl(&["get", "enp", "-n", "a"]);
    assert!(
        shown.contains("ENFORCED") && shown.contains("InForce"),
        "{shown}"
    );
    let described =
        scene
            .server
            .kubectl(&["describe", "egressnetworkpolicy", "default", "-n", "a"]);
    assert!(
        described.contains("Warning  SeveralPolicies"),
        "{described}"
    );

    // Another text of the rules is another generation and no news.
    scene.policy("a", "default", "198.51.100.0/24");
    scene.until(&OF_A, "True InForce");

    let netid = |from: &str, to: &str| {
        let netid = scene.get(&["netnamespace", from]).unwrap()["netid"].to_string();
        let patch = format!("{{\"netid\": {netid}}}");
        scene
            .server
            .kubectl(&["patch", "netnamespace", to, "--type=merge", "-p", &patch]);
    };
    scene
        .server
        .kubectl(&["delete", "egressnetworkpolicy", "default", "-n", "b"]);
    netid("a", "b");
    scene.until(&OF_A, "False JoinedProject");
    // It has no policy, and yet nothing leaves it.
    scene.until(&["netnamespace", "b"], "True EgressClosed");
    assert_eq!(scene.events("NetNamespace", "b"), ["Warning EgressClosed"]);
    netid("default", "a");
    scene.until(&OF_A, "False GlobalProject");
    scene.until(&["netnamespace", "b"], "True Accepted");
    let events = scene.events("EgressNetworkPolicy", "default");
    assert_eq!(
        events[2..],
        ["Warning JoinedProject", "Warning GlobalProject"]
    );
}

#[test]
fn with_enforce_a_policy_counts_in_a_global_project() {
    let scene = Scene::new("egressPolicyConflicts: enforce\n");
    scene.policy("default", "default", "192.0.2.0/24");
    scene.until(
        &["egressnetworkpolicy", "default", "-n", "default"],
        "True InForce",
    );
}
