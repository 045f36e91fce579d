//! What contradicts itself or is not understood is closed or ignored, as OpenShift has it, and every one of them shows.

use serde_json::{Value, json};
use weft_agent::api::view::EgressPolicyState::{self, Closed, Enforced, Ignored};
use weft_wait::eventually;

use crate::cluster::{Pod, Store, on_both_stores};
use crate::field::{DENY_ALL, Field, ip, outside, rule};

const WEB: &str = "198.51.100.7";
const ALLOW: [&str; 1] = ["Allow 198.51.100.0/24"];

fn pod_network(field: &Field, args: &[&str]) {
    let args = [&["pod-network"], args].concat();
    field.cluster.ask("node1", &args).ok();
}

/// The state shows; the reason has these words; unless it is in force, `weft status` names the object.
fn shows(field: &Field, project: &str, name: &str, state: EgressPolicyState, words: &[&str]) {
    let mut seen = None;
    eventually(&format!("{project}/{name} is {state:?}"), || {
        seen = field.policy("node1", project, name);
        seen.as_ref().is_some_and(|policy| policy.state == state)
    });
    let policy = seen.unwrap();
    for word in words {
        assert!(policy.reason.contains(word), "{word}: {policy:?}");
    }
    assert_eq!(policy.reason.is_empty(), state == Enforced, "{policy:?}");
    let object = format!("EgressNetworkPolicy/{project}/{name}");
    let problems = field.cluster.agent_status("node1").problems;
    let told = problems.iter().any(|problem| problem.object == object);
    assert_eq!(
        told,
        state != Enforced,
        "{object} is {state:?}: {problems:?}"
    );
}

fn in_force(field: &Field, pod: &Pod, name: &str) {
    field.closes(pod, outside(1));
    field.open(pod, ip(WEB));
    shows(field, &pod.namespace, name, Enforced, &[]);
}

fn closed(field: &Field, pod: &Pod) {
    for to in [WEB, "2001:db8:1::7"] {
        field.closes_for(pod, ip(to), "EgressClosed");
    }
}

on_both_stores!(global_and_joined_projects_and_several_policies);

fn global_and_joined_projects_and_several_policies(store: Store) {
    let field = Field::on(store, 1);
    let [a, b] = ["a/p", "b/p"].map(|label| field.cluster.pod(label, "node1"));
    field.apply("a", "one", &[&ALLOW, &DENY_ALL]);
    in_force(&field, &a, "one");
    field.open(&b, outside(1));

    // Global: ignored.
    pod_network(&field, &["make-projects-global", "a"]);
    field.opens(&a, outside(1));
    shows(&field, "a", "one", Ignored, &["global"]);
    pod_network(&field, &["isolate-projects", "a"]);
    in_force(&field, &a, "one");

    // Joined: closed for all of the network, whoever has the policy.
    pod_network(&field, &["join-projects", "--to=a", "b"]);
    closed(&field, &a);
    closed(&field, &b);
    shows(&field, "a", "one", Closed, &["joined", "b"]);
    pod_network(&field, &["isolate-projects", "b"]);
    in_force(&field, &a, "one");
    field.opens(&b, outside(1));

    // Two: closed.
    field.apply("a", "two", &[&ALLOW]);
    closed(&field, &a);
    for name in ["one", "two"] {
        shows(&field, "a", name, Closed, &["one", "two"]);
    }
    field.open(&b, outside(1));
    field.delete("a", "two");
    in_force(&field, &a, "one");

    // None: open.
    field.delete("a", "one");
    field.opens(&a, outside(1));
    assert_eq!(field.policies("node1").len(), 0);
}

on_both_stores!(a_policy_that_is_not_understood_closes_its_project);

fn a_policy_that_is_not_understood_closes_its_project(store: Store) {
    let field = Field::on(store, 1);
    let [pod, other] = ["a/p", "b/p"].map(|label| field.cluster.pod(label, "node1"));
    field.apply("a", "one", &[&ALLOW, &DENY_ALL]);
    in_force(&field, &pod, "one");
    let egress = |rule: Value| json!({"egress": [rule]});
    let both = json!({"type": "Allow", "to": {"cidrSelector": "198.51.100.0/24", "dnsName": "www.foo.com"}});
    for (spec, words) in [
        (
            egress(rule("Allow 198.51.100.7/24")),
            &["198.51.100.7/24", "198.51.100.0/24"][..],
        ),
        (egress(rule("Allow 198.51.100.0/33")), &["198.51.100.0/33"]),
        (egress(rule("Permit 198.51.100.0/24")), &["Permit"]),
        (egress(rule("Allow www..foo.com")), &["www..foo.com"]),
        (egress(rule("Allow www.*.com")), &["www.*.com"]),
        (egress(both), &["cidrSelector", "dnsName"]),
        (
            egress(json!({"type": "Allow", "to": {}})),
            &["cidrSelector", "dnsName"],
        ),
        (egress(json!({"type": "Allow"})), &["to"]),
        (egress(rule("Allow 198.51.100.0/24 ICMP/1")), &["ICMP"]),
        (json!({"egres": []}), &["egres"]),
    ] {
        if !field.takes("a", "one", &spec) {
            in_force(&field, &pod, "one");
            continue;
        }
        closed(&field, &pod);
        shows(&field, "a", "one", Closed, words);
        field.open(&other, outside(1));
        field.apply("a", "one", &[&ALLOW, &DENY_ALL]);
        in_force(&field, &pod, "one");
    }
}

/// The pods have two families, and the policy speaks of one: it is in force, and its author is told.
#[test]
fn a_policy_that_forgets_a_family_is_in_force_and_told_of() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let outside6 = ip("2001:db8:1::7");
    field.apply("a", "one", &[&ALLOW, &DENY_ALL[..1]]);
    in_force(&field, &pod, "one");
    field.open(&pod, outside6);
    let words = "no rule for ::/0";
    let status = field.cluster.agent_status("node1");
    let objects: Vec<_> = status.warnings.iter().map(|it| &*it.object).collect();
    assert_eq!(objects, ["EgressNetworkPolicy/a/one"]);
    assert!(status.warnings[0].message.contains(words), "{status:?}");
    assert_eq!(status.problems, [], "it is no error");
    let told = field.policy("node1", "a", "one").unwrap().warning;
    assert!(told.is_some_and(|it| it.contains(words)));
    for command in [&["status"][..], &["get", "egress-policies"]] {
        let said = field.cluster.ask("node1", command).ok();
        assert!(said.contains(words), "{command:?}: {said}");
    }

    field.apply("a", "one", &[&ALLOW, &DENY_ALL]);
    field.closes(&pod, outside6);
    assert_eq!(field.cluster.agent_status("node1").warnings, []);
    let told = field.policy("node1", "a", "one").unwrap().warning;
    assert_eq!(told, None);
}

#[test]
fn with_enforce_each_project_is_judged_by_its_own_policy() {
    let field = Field::with(1, Some("egressPolicyConflicts: enforce"));
    let [a, b] = ["a/p", "b/p"].map(|label| field.cluster.pod(label, "node1"));
    field.apply("a", "one", &[&ALLOW, &DENY_ALL]);
    in_force(&field, &a, "one");
    pod_network(&field, &["join-projects", "--to=a", "b"]);
    eventually("b is joined to a", || {
        let projects = field.cluster.projects("node1");
        projects.iter().any(|project| project.joined_with == ["b"])
    });
    in_force(&field, &a, "one");
    field.open(&b, outside(1));
    pod_network(&field, &["make-projects-global", "a"]);
    eventually("a is global", || {
        let projects = field.cluster.projects("node1");
        projects
            .iter()
            .any(|project| project.name == "a" && project.global)
    });
    in_force(&field, &a, "one");
}
