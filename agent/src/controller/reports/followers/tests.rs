use std::sync::Arc;

use serde_json::json;

use super::*;

fn put(value: Value) -> Delta {
    Delta::Put(Arc::new(Object::from_value(value).unwrap()))
}

fn node(name: &str) -> Delta {
    put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
}

fn agent(node: &str, ready: bool) -> Delta {
    let status = if ready { "True" } else { "False" };
    put(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("agent-{node}"), "namespace": "weft"},
        "spec": {"nodeName": node}, "status": {"conditions": [{"type": "Ready", "status": status}]},
    }))
}

fn host_subnet(node: &str, not_in_force: &Value) -> Delta {
    put(json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": node},
        "status": {"policiesNotInForce": not_in_force},
    }))
}

fn policy(generation: u64, status: &Value) -> Object {
    Object::from_value(json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "p", "namespace": "a", "generation": generation}, "status": status,
    }))
    .unwrap()
}

/// Three nodes, the agent of the third one away.
fn scene() -> Followers {
    let mut followers = Followers::default();
    for name in ["n1", "n2", "n3"] {
        followers.take(&node(name));
        followers.take(&agent(name, name != "n3"));
    }
    followers
}

/// The nodes that are told, after a look at this version.
fn told(followers: &mut Followers, policy: &Object, now: Instant) -> Vec<String> {
    followers.look(std::iter::once((policy, "Enforced")), now);
    verdict(followers, policy).behind
}

fn verdict(followers: &Followers, policy: &Object) -> Verdict {
    let mut verdict = Verdict {
        condition: "Enforced",
        status: Status::True,
        reason: "InForce",
        message: "it counts".into(),
        warning: false,
        always: true,
        behind: Vec::new(),
        behind_message: String::new(),
    };
    followers.complete(&policy.key, &mut verdict);
    verdict
}

#[test]
fn a_node_without_agent_is_behind_until_it_comes_back() {
    let (mut followers, start) = (scene(), Instant::now());
    let first = policy(1, &Value::Null);
    assert_eq!(told(&mut followers, &first, start), ["n3"]);
    let verdict = verdict(&followers, &first);
    assert_eq!(
        (
            verdict.told_reason(),
            verdict.told_message().as_str(),
            verdict.warning
        ),
        (
            "NodesBehind",
            "it counts; 1 of 3 nodes may not have followed: n3 (its agent is not ready)",
            false
        )
    );
    followers.take(&agent("n3", true));
    assert_eq!(told(&mut followers, &first, start), [""; 0]);
}

#[test]
fn what_a_node_followed_before_it_went_it_keeps() {
    let (mut followers, start) = (scene(), Instant::now());
    followers.take(&agent("n3", true));
    let first = policy(1, &Value::Null);
    assert_eq!(told(&mut followers, &first, start), [""; 0]);
    let later = start + BELATED;
    followers.take(&agent("n1", false));
    assert_eq!(told(&mut followers, &first, later), [""; 0], "it had time");
    let second = policy(2, &Value::Null);
    assert_eq!(told(&mut followers, &second, later), ["n1"]);
    // Kubernetes notices late that a node is cut off.
    followers.take(&Delta::Gone(ObjectRef::namespaced(
        Kind::Pod,
        "weft",
        "agent-n2",
    )));
    let soon = later + BELATED / 2;
    assert_eq!(told(&mut followers, &second, soon), ["n1", "n2"]);
}

#[test]
fn the_next_controller_goes_on_where_the_last_one_ended() {
    let now = Instant::now();
    let status = json!({
        "conditions": [{"type": "Enforced", "observedGeneration": 2}], "nodesBehind": ["n1", "n3"],
    });
    assert_eq!(told(&mut scene(), &policy(2, &status), now), ["n3"]);
    let unaware =
        json!({"conditions": [{"type": "Enforced", "observedGeneration": 2}], "nodesBehind": []});
    assert_eq!(told(&mut scene(), &policy(2, &unaware), now), [""; 0]);
    assert_eq!(
        told(&mut scene(), &policy(3, &unaware), now),
        ["n3"],
        "changed while there was no controller"
    );
    let mut followers = scene();
    told(&mut followers, &policy(2, &unaware), now);
    followers.take(&agent("n1", false));
    assert_eq!(
        told(&mut followers, &policy(2, &unaware), now),
        [""; 0],
        "nobody knows it to be new"
    );
}

#[test]
fn what_an_agent_does_not_enforce_is_told_with_its_reason() {
    let (mut followers, now) = (scene(), Instant::now());
    followers.take(&agent("n3", true));
    let item = |name| json!({"namespace": "a", "name": name, "reason": "no room"});
    followers.take(&host_subnet("n2", &json!([item("other"), item("p")])));
    let policy = policy(1, &Value::Null);
    assert_eq!(told(&mut followers, &policy, now), ["n2"]);
    let verdict = verdict(&followers, &policy);
    assert!(
        verdict.warning && verdict.told_message().ends_with("n2 (no room)"),
        "{verdict:?}"
    );
    followers.take(&host_subnet("n2", &Value::Null));
    assert_eq!(told(&mut followers, &policy, now), [""; 0]);
}

#[test]
fn agents_that_do_not_run_in_pods_are_not_missed() {
    let mut followers = Followers::default();
    followers.take(&node("n1"));
    let policy = policy(1, &Value::Null);
    assert_eq!(told(&mut followers, &policy, Instant::now()), [""; 0]);
}

#[test]
fn a_long_list_is_cut() {
    let mut followers = scene();
    for n in 0..200 {
        followers.take(&node(&format!("m{n:03}")));
    }
    let first = policy(1, &Value::Null);
    assert_eq!(told(&mut followers, &first, Instant::now()).len(), LISTED);
    let message = verdict(&followers, &first).told_message();
    assert!(
        message.contains("201 of 203 nodes") && message.ends_with("and 191 more"),
        "{message}"
    );
    // The next controller cannot tell who else was meant.
    let mut next = Followers::default();
    next.take(&agent("n1", true));
    let listed: Vec<_> = (0..LISTED).map(|n| format!("m{n:03}")).collect();
    let status = json!({
        "conditions": [{"type": "Enforced", "observedGeneration": 1}], "nodesBehind": listed,
    });
    next.take(&node("n2"));
    let object = policy(1, &status);
    assert_eq!(told(&mut next, &object, Instant::now()), ["n2"]);
}
