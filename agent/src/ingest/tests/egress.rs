//! EgressNetworkPolicy.
//!
//! - here: what an object says
//! - `refused`: what is wrong with it
//! - `force`: when it takes force

mod force;
mod refused;

use std::sync::Arc;

use serde_json::{Value, json};
use weft_core::model::{Action, EgressPolicy};

use super::super::egress_network_policy;
use crate::store::Object;

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
