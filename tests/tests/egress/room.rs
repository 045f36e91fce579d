//! An agent starts with policies that do not fit the maps together.

use std::time::Duration;

use serde_json::{Value, json};
use weft_agent::api::view::EgressPolicyState;
use weft_lab::lab::Action;
use weft_wait::poll;

use crate::cluster::{Pod, Said, Store, on_both_stores};
use crate::field::{DENY_ALL, Field, ip, outside, rule};

const WEB: &str = "198.51.100.7";
const ALLOW: [&str; 1] = ["Allow 198.51.100.0/24"];
/// Ranges that one protocol may have before the policy is too large by itself.
const RANGES: u16 = 4_000;

on_both_stores!(the_largest_policy_closes_its_project_and_the_others_are_in_force);

fn the_largest_policy_closes_its_project_and_the_others_are_in_force(store: Store) {
    let field = Field::on(store, 1);
    let pods = ["a/p", "b/p", "c/p"].map(|label| field.cluster.pod(label, "node1"));
    let [largest, large, small] = &pods;
    field.cluster.agent("node1", Action::Stop).unwrap();
    // Each of the two large ones fits alone.
    field.apply_object("a", "large", &with_ranges(RANGES));
    field.apply_object("b", "large", &with_ranges(RANGES - 100));
    field.apply("c", "small", &[&ALLOW, &DENY_ALL]);
    field.cluster.agent("node1", Action::Start).unwrap();

    field.closes_for(largest, ip(WEB), "EgressClosed");
    for pod in [large, small] {
        field.closes(pod, outside(1));
        field.open(pod, ip(WEB));
    }
    let state = |pod: &Pod, name| {
        let policy = field.policy("node1", &pod.namespace, name);
        policy.map(|it| (it.state, it.reason)).unwrap()
    };
    assert_eq!(state(large, "large").0, EgressPolicyState::Enforced);
    assert_eq!(state(small, "small").0, EgressPolicyState::Enforced);
    let (told, reason) = state(largest, "large");
    assert_eq!(told, EgressPolicyState::Refused);
    for word in ["PORTS", "131072", "nothing of the project leaves"] {
        assert!(reason.contains(word), "{word}: {reason}");
    }
    // The agent is up, and says what is wrong.
    let status = field.cluster.agent_status("node1");
    assert!(status.ready, "{}", status.not_ready);
    let problems: Vec<&str> = status
        .problems
        .iter()
        .map(|it| it.object.as_str())
        .collect();
    assert_eq!(problems, ["EgressNetworkPolicy/a/large"]);
    let new = field.cluster.pod("c/new", "node1");
    field.denied(&new, outside(1));
    if store == Store::ApiServer {
        // Refused too, but by every node.
        field.apply_object("c", "small", &unfit());
        told_within(&field, "c/small is refused", || {
            state(small, "small").0 == EgressPolicyState::Refused
        });
        told_within(&field, "a/large in the node's HostSubnet", || {
            let told = not_in_force(&field);
            told.as_array().is_some_and(|list| {
                list.len() == 1
                    && (&list[0]["namespace"], &list[0]["name"]) == (&json!("a"), &json!("large"))
                    && list[0]["reason"].as_str().unwrap().contains("PORTS")
            })
        });
    }

    // Mended, it is in force.
    field.apply("a", "large", &[&ALLOW, &DENY_ALL]);
    field.closes(largest, outside(1));
    field.open(largest, ip(WEB));
    assert_eq!(state(largest, "large").0, EgressPolicyState::Enforced);
    if store == Store::ApiServer {
        // By now the other one would have been told, too.
        told_within(&field, "nothing in the node's HostSubnet", || {
            not_in_force(&field).is_null()
        });
        field.apply("c", "small", &[&ALLOW, &DENY_ALL]);
        told_within(&field, "c/small is in force", || {
            state(small, "small").0 == EgressPolicyState::Enforced
        });
    }
    assert_eq!(field.cluster.agent_status("node1").problems, []);
}

/// Waits for what an agent tells: after ten seconds, and ten seconds after it told something else.
fn told_within(field: &Field, what: &str, is: impl Fn() -> bool) {
    let told = poll(Duration::from_secs(30), || is().then_some(()));
    assert!(told.is_some(), "{what}: {}", not_in_force(field));
}

/// What the node's HostSubnet says of policies that are not in force.
fn not_in_force(field: &Field) -> Value {
    let get = ["get", "hostsubnet", "node1", "-o", "json"];
    let said = Said::of(field.cluster.kubectl().unwrap().args(get)).ok();
    let object: Value = serde_json::from_str(&said).unwrap();
    object["status"]["policiesNotInForce"].clone()
}

/// More prefix lengths than the data path goes through.
fn unfit() -> Value {
    let lengths = (0..=128).map(|length| rule(&format!("Deny ::/{length}")));
    json!({ "egress": lengths.collect::<Vec<_>>() })
}

/// A rule with ranges of 14 ports, each of which takes six rows, over each protocol; the pods may still reach [`WEB`].
fn with_ranges(count: u16) -> Value {
    let protocols = ["TCP", "UDP", "SCTP"].into_iter();
    let ports: Vec<Value> = protocols
        .flat_map(|protocol| (0..count).map(move |n| (protocol, 16 * n + 1)))
        .map(|(protocol, port)| json!({"protocol": protocol, "port": port, "endPort": port + 13}))
        .collect();
    let wide = json!({"type": "Deny", "to": {"cidrSelector": "192.0.2.0/24", "ports": ports}});
    let rules = [ALLOW.to_vec(), DENY_ALL.to_vec()].concat();
    let rules: Vec<Value> = rules.into_iter().map(rule).chain([wide]).collect();
    json!({ "egress": rules })
}
