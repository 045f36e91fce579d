//! EgressNetworkPolicy: what an object says, what is wrong with it, and when it takes force.

use std::sync::Arc;

use serde_json::{Value, json};
use weft_core::model::{Action, Change, EgressPolicy, EgressState, LocalNode, World};

use super::super::{Intake, egress_network_policy};
use super::{network, project};
use crate::store::{Delta, Key, Object};

fn egress(spec: &Value) -> Object {
    Object::from_value(json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"namespace": "a", "name": "default"}, "spec": spec,
    }))
    .unwrap()
}

/// A policy of one rule that allows.
fn to(to: &Value) -> Object {
    egress(&json!({"egress": [{"type": "Allow", "to": to}]}))
}

fn policy(object: &Object) -> (Arc<EgressPolicy>, Option<String>) {
    let valid = egress_network_policy(object);
    (valid.value, valid.warning)
}

/// The rules as text, without any warning.
#[track_caller]
fn rules(object: &Object) -> Vec<String> {
    let (policy, warning) = policy(object);
    assert_eq!(warning, None);
    let rules = policy.rules.as_ref().unwrap();
    rules.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refusal(object: &Object) -> String {
    let (policy, warning) = policy(object);
    assert_eq!(warning, None, "one message is enough");
    policy.rules.clone().unwrap_err()
}

/// The documentation of OpenShift Container Platform, and of its versions before API groups.
#[test]
fn the_documented_examples() {
    let expected = [
        "Allow 1.2.3.0/24",
        "Allow www.example.com",
        "Deny 0.0.0.0/0",
    ];
    let yaml = "
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata:
  name: default
  namespace: a
spec:
  egress:
  - type: Allow
    to:
      cidrSelector: 1.2.3.0/24
  - type: Allow
    to:
      dnsName: www.example.com
  - type: Deny
    to:
      cidrSelector: 0.0.0.0/0
";
    let json = r#"{
        "kind": "EgressNetworkPolicy", "apiVersion": "v1", "metadata": {"name": "default", "namespace": "a"},
        "spec": {"egress": [
            {"type": "Allow", "to": {"cidrSelector": "1.2.3.0/24"}},
            {"type": "Allow", "to": {"dnsName": "www.example.com"}},
            {"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}
        ]}
    }"#;
    let yaml = yaml_serde::from_str(yaml).unwrap();
    let json = serde_json::from_str(json).unwrap();
    let mut numbers = Vec::new();
    for value in [yaml, json] {
        let object = Object::from_value(value).unwrap();
        assert_eq!(rules(&object), expected);
        numbers.push(policy(&object).0.number());
    }
    assert_eq!(numbers[0], numbers[1], "the same rules in another form");
}

#[test]
fn destinations() {
    for (selector, rule) in [
        (json!({"cidrSelector": "10.0.0.0/8"}), "Allow 10.0.0.0/8"),
        (json!({"cidrSelector": "0.0.0.0/0"}), "Allow 0.0.0.0/0"),
        (
            json!({"cidrSelector": "198.51.100.7/32"}),
            "Allow 198.51.100.7/32",
        ),
        (json!({"cidrSelector": "::/0"}), "Allow ::/0"),
        (
            json!({"cidrSelector": "2001:DB8::/32"}),
            "Allow 2001:db8::/32",
        ),
        (json!({"cidrSelector": "127.0.0.0/8"}), "Allow 127.0.0.0/8"),
        (json!({"dnsName": "Example.COM."}), "Allow example.com"),
        (json!({"dnsName": "*.Example.com"}), "Allow *.example.com"),
        (json!({"dnsName": "*.com."}), "Allow *.com"),
        (json!({"dnsName": "_x.example.com"}), "Allow _x.example.com"),
        (
            json!({"cidrSelector": "10.0.0.0/8", "dnsName": null}),
            "Allow 10.0.0.0/8",
        ),
    ] {
        assert_eq!(rules(&to(&selector)), [rule], "{selector}");
    }
    assert_eq!(
        rules(&egress(&json!({"egress": []}))),
        [""; 0],
        "no rule is a policy, too"
    );
}

#[test]
fn ports() {
    let tcp = |port, end: Option<u32>| json!({"protocol": "TCP", "port": port, "endPort": end});
    for (ports, rule) in [
        (json!([tcp(443, None)]), "Allow x.test TCP/443"),
        (json!([tcp(1, Some(65_535))]), "Allow x.test TCP/1-65535"),
        (json!([tcp(443, Some(443))]), "Allow x.test TCP/443"),
        (
            json!([{"protocol": "UDP", "port": 53}, {"protocol": "SCTP", "port": 7}, tcp(1, Some(2))]),
            "Allow x.test UDP/53,SCTP/7,TCP/1-2",
        ),
    ] {
        assert_eq!(
            rules(&to(&json!({"dnsName": "x.test", "ports": ports}))),
            [rule]
        );
    }
    let all = to(&json!({"dnsName": "x.test", "ports": null}));
    assert_eq!(rules(&all), ["Allow x.test"], "all ports");
}

/// Each message begins with the path of the field that is to be mended.
#[test]
fn what_is_wrong_is_told_with_its_path() {
    let selector = "spec.egress[0].to.cidrSelector: ";
    let name = "spec.egress[0].to.dnsName: ";
    for (destination, path, part) in [
        (
            json!({"cidrSelector": "10.0.0.1/8"}),
            selector,
            "write 10.0.0.0/8",
        ),
        (
            json!({"cidrSelector": "2001:db8::1/32"}),
            selector,
            "write 2001:db8::/32",
        ),
        (
            json!({"cidrSelector": "10.0.0.0"}),
            selector,
            "ADDRESS/LENGTH",
        ),
        (
            json!({"cidrSelector": "10.0.0.0/33"}),
            selector,
            "ADDRESS/LENGTH",
        ),
        (
            json!({"cidrSelector": "10.0.0.0/08"}),
            selector,
            "ADDRESS/LENGTH",
        ),
        (
            json!({"cidrSelector": "010.0.0.0/8"}),
            selector,
            "ADDRESS/LENGTH",
        ),
        (json!({"cidrSelector": ""}), selector, "ADDRESS/LENGTH"),
        (
            json!({"cidrSelector": "::ffff:10.0.0.0/104"}),
            selector,
            "write it as IPv4",
        ),
        (
            json!({"cidrSelector": 10}),
            "spec.egress[0].to.cidrSelector: ",
            "string",
        ),
        (json!({"dnsName": ""}), name, "empty"),
        (json!({"dnsName": "."}), name, "empty"),
        (
            json!({"dnsName": "*"}),
            name,
            "a star stands at the beginning",
        ),
        (json!({"dnsName": "*."}), name, "empty"),
        (
            json!({"dnsName": "a.*.com"}),
            name,
            "a star stands at the beginning",
        ),
        (
            json!({"dnsName": "*.*.com"}),
            name,
            "a star stands at the beginning",
        ),
        (
            json!({"dnsName": "*a.com"}),
            name,
            "a star stands at the beginning",
        ),
        (json!({"dnsName": "a..com"}), name, "empty label"),
        (json!({"dnsName": "a b.com"}), name, "character ' '"),
        (json!({"dnsName": "bücher.example"}), name, "character 'ü'"),
        (json!({}), "spec.egress[0].to: ", "neither"),
        (
            json!({"cidrSelector": "10.0.0.0/8", "dnsName": "a.com"}),
            "spec.egress[0].to: ",
            "both",
        ),
        (
            json!({"cidrSelector": "10.0.0.0/8", "nodeSelector": {}}),
            "spec.egress[0].to.nodeSelector: ",
            "unknown field",
        ),
    ] {
        let error = refusal(&to(&destination));
        assert!(
            error.starts_with(path) && error.contains(part),
            "{destination}: {error}"
        );
    }
    let ports = "spec.egress[0].to.ports";
    for (port, path, part) in [
        (json!([]), "", "empty"),
        (
            json!([{"protocol": "TCP", "port": 0}]),
            "[0].port",
            "must be 1 to 65535",
        ),
        (
            json!([{"protocol": "TCP", "port": 65_536}]),
            "[0].port",
            "65536",
        ),
        (
            json!([{"protocol": "TCP", "port": "http"}]),
            "[0].port",
            "string",
        ),
        (
            json!([{"protocol": "TCP", "port": 9, "endPort": 8}]),
            "[0].endPort",
            "below port",
        ),
        (
            json!([{"protocol": "TCP", "port": 9, "endPort": 65_536}]),
            "[0].endPort",
            "65536",
        ),
        (
            json!([{"protocol": "tcp", "port": 9}]),
            "[0].protocol",
            "unknown variant",
        ),
        (
            json!([{"protocol": "ICMP", "port": 9}]),
            "[0].protocol",
            "unknown variant",
        ),
        (json!([{"port": 9}]), "[0]", "protocol"),
        (json!([{"protocol": "TCP"}]), "[0]", "port"),
        (
            json!([{"protocol": "TCP", "port": 9, "to": 10}]),
            "[0].to",
            "unknown field",
        ),
        (
            json!([{"protocol": "TCP", "port": 9}, {"protocol": "UDP", "port": 0}]),
            "[1].port",
            "is 0",
        ),
    ] {
        let error = refusal(&to(&json!({"cidrSelector": "10.0.0.0/8", "ports": port})));
        let path = format!("{ports}{path}: ");
        assert!(
            error.starts_with(&path) && error.contains(part),
            "{port}: {error}"
        );
    }
    let any = json!({"cidrSelector": "10.0.0.0/8"});
    for (spec, path) in [
        (json!(null), "spec: "),
        (json!({}), "spec: "),
        (json!({"egress": null}), "spec.egress: "),
        (json!({"egress": {}}), "spec.egress: "),
        (json!({"egress": [], "ingress": []}), "spec.ingress: "),
        (json!({"egress": [{"to": any}]}), "spec.egress[0]: "),
        (json!({"egress": [{"type": "Allow"}]}), "spec.egress[0]: "),
        (
            json!({"egress": [{"type": "allow", "to": any}]}),
            "spec.egress[0].type: ",
        ),
        (
            json!({"egress": [{"type": "Allow", "to": any, "ports": []}]}),
            "spec.egress[0].ports: ",
        ),
        (
            json!({"egress": [{"type": "Allow", "to": any}, {"type": "Deny", "to": {}}]}),
            "spec.egress[1].to: ",
        ),
    ] {
        let error = refusal(&egress(&spec));
        assert!(error.starts_with(path), "{spec}: {error}");
    }
}

#[test]
fn what_stands_around_the_spec() {
    let good = to(&json!({"cidrSelector": "10.0.0.0/8"}));
    let mut reported = good.clone();
    reported.set_field("status", json!({"anything": [1]}));
    assert_eq!(rules(&reported), rules(&good));
    let mut other = good.clone();
    other.set_field("spce", json!({}));
    assert!(
        refusal(&other).starts_with("spce: unknown field"),
        "{}",
        refusal(&other)
    );
    for version in ["network.openshift.io/v2", "k8s.ovn.org/v1", ""] {
        let mut other = good.clone();
        other.api_version = version.into();
        assert!(refusal(&other).starts_with("apiVersion: "), "{version:?}");
    }
    let mut other = good.clone();
    other.key.name = "A_b".into();
    assert!(refusal(&other).starts_with("metadata.name: "));
}

/// The old agent took 0.0.0.0/32 for everything, and objects rely on it.
#[test]
fn a_host_route_of_all_zeros_means_everything() {
    let (policy, warning) = policy(&to(&json!({"cidrSelector": "0.0.0.0/32"})));
    let [rule] = &policy.rules.as_ref().unwrap()[..] else {
        panic!("one rule");
    };
    assert_eq!(rule.to_string(), "Allow 0.0.0.0/0");
    assert_eq!(rule.action, Action::Allow);
    let warning = warning.unwrap();
    assert!(
        warning.starts_with("spec.egress[0].to.cidrSelector: 0.0.0.0/32"),
        "{warning}"
    );
    // Elsewhere one address is one address.
    assert_eq!(
        rules(&to(&json!({"cidrSelector": "::/128"}))),
        ["Allow ::/128"]
    );
}

fn put(object: Object) -> Delta {
    Delta::Put(Arc::new(object))
}

fn gone(name: &str) -> Delta {
    Delta::Gone(Key {
        namespace: "a".into(),
        ..Key::cluster("EgressNetworkPolicy", name)
    })
}

fn told(intake: &Intake) -> String {
    let problems = intake.problems();
    let lines = problems
        .iter()
        .map(|p| format!("{}: {}", p.object, p.message));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a project may send must be known before it may send at all.
#[test]
fn a_policy_is_told_before_its_project() {
    let mut intake = Intake::default();
    let changes = intake.take(vec![
        put(project("a", 7)),
        put(to(&json!({"cidrSelector": "10.0.0.0/8"}))),
        put(network()),
    ]);
    assert!(
        matches!(
            &changes[..],
            [
                Change::Network(Some(_)),
                Change::Policy(project, name, Some(_)),
                Change::Project(_, Some(_))
            ] if project == "a" && name == "default"
        ),
        "{changes:?}"
    );
}

#[test]
fn only_real_differences_of_policies_are_told() {
    let mut intake = Intake::default();
    let selector = json!({"cidrSelector": "10.0.0.0/8"});
    assert_eq!(intake.take(vec![put(to(&selector))]).len(), 1);
    assert_eq!(intake.take(vec![put(to(&selector))]), []);
    let mut annotated = to(&selector);
    annotated.set_annotation("x", Some("y"));
    assert_eq!(intake.take(vec![put(annotated)]), []);
    let wider = to(&json!({"cidrSelector": "10.0.0.0/7"}));
    assert_eq!(intake.take(vec![put(wider)]).len(), 1);
    let changes = intake.take(vec![gone("default")]);
    assert_eq!(
        changes,
        [Change::Policy("a".into(), "default".into(), None)]
    );
    assert_eq!(intake.take(vec![gone("default")]), []);
    assert_eq!(told(&intake), "");
}

/// An edit that cannot be understood may have been meant to forbid something: it closes, and says so until it is mended.
#[test]
fn an_invalid_policy_closes_its_project() {
    let mut intake = Intake::default();
    let mut world = World::new(LocalNode {
        name: "n1".into(),
        ip: [192, 0, 2, 1].into(),
        addresses: Vec::new(),
    });
    let mut take = |intake: &mut Intake, deltas| {
        let changes = intake.take(deltas);
        changes.into_iter().for_each(|change| world.take(change));
        world.egress_state("a")
    };
    let good = to(&json!({"cidrSelector": "10.0.0.0/8"}));
    let state = take(
        &mut intake,
        vec![put(network()), put(project("a", 7)), put(good.clone())],
    );
    assert!(matches!(state, EgressState::InForce(_)), "{state:?}");

    let bad = to(&json!({"cidrSelector": "10.0.0.1/8"}));
    let state = take(&mut intake, vec![put(bad)]);
    assert!(
        matches!(&state, EgressState::Closed(reason) if reason.contains("spec.egress[0].to.cidrSelector")),
        "{state:?}"
    );
    let problem = told(&intake);
    assert!(
        problem.starts_with("EgressNetworkPolicy/a/default: spec.egress[0].to.cidrSelector"),
        "{problem}"
    );
    assert!(
        problem.contains("nothing of the project leaves the cluster"),
        "{problem}"
    );

    let mut second = good.clone();
    second.key.name = "more".into();
    let state = take(&mut intake, vec![put(good), put(second)]);
    assert_eq!(told(&intake), "", "each of them is good");
    assert!(
        matches!(&state, EgressState::Closed(reason) if reason.contains("default, more")),
        "{state:?}"
    );
    let state = take(&mut intake, vec![gone("default")]);
    assert!(matches!(state, EgressState::InForce(_)), "{state:?}");
    assert_eq!(take(&mut intake, vec![gone("more")]), EgressState::Open);
}

#[test]
fn a_policy_of_no_project_is_pointed_out() {
    let mut intake = Intake::default();
    let mut object = to(&json!({"cidrSelector": "10.0.0.0/8"}));
    object.key.namespace = String::new();
    assert_eq!(intake.take(vec![put(object)]), []);
    assert!(
        told(&intake).contains("metadata.namespace: is missing"),
        "{}",
        told(&intake)
    );
}
