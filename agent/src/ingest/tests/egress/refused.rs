//! What is wrong with a policy.

use serde_json::json;

use super::{egress, policy, rules, to};
use crate::store::Object;

#[track_caller]
fn refusal(object: &Object) -> String {
    let (policy, warning) = policy(object);
    assert_eq!(warning, None, "one message is enough");
    policy.rules.clone().unwrap_err()
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
