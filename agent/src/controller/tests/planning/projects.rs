//! NetNamespaces for Namespaces, and requests.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::{namespace, net, network, object};
use super::Cluster;
use crate::controller::annotations::Verdict;
use crate::controller::plan::Memory;

#[test]
fn every_namespace_gets_a_number() {
    let mut cluster = Cluster::new([
        namespace("default"),
        namespace("a"),
        namespace("b"),
        namespace("c"),
        net("c", 7),
        net("pre", 1),
    ]);
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.netid("default"), 0);
    assert_eq!(cluster.netid("c"), 7, "adopted");
    let (a, b) = (cluster.netid("a"), cluster.netid("b"));
    assert!(a >= 10 && b >= 10 && a != b);
    for name in ["a", "c"] {
        cluster.remove("Namespace", name);
    }
    cluster.settle();
    assert!(!cluster.has("NetNamespace", "a"));
    assert!(!cluster.has("NetNamespace", "c"));
    assert!(
        cluster.has("NetNamespace", "pre"),
        "no Namespace was ever seen for it"
    );

    // A controller that starts anew still removes what it made.
    cluster.remove("Namespace", "b");
    cluster.memory = Memory::default();
    cluster.settle();
    assert!(!cluster.has("NetNamespace", "b"));
}

#[test]
fn subnet_mode_has_no_numbers() {
    let mut cluster = Cluster::new([namespace("a"), net("b", 12)]);
    cluster.put(network(
        "subnet",
        &json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}]),
    ));
    cluster.ask("b", "global", "1");
    cluster.settle();
    assert!(!cluster.has("NetNamespace", "a"));
    let outcome = cluster.outcome("b");
    assert_eq!(outcome.outcome, Verdict::Refused);
    assert!(outcome.reason.unwrap().contains("multitenant"));
}

#[test]
fn requests_are_carried_out_truthfully() {
    let names = ["default", "a", "b", "c"];
    let mut cluster = Cluster::new(names.map(namespace));
    cluster.settle();
    let (a, b) = (cluster.netid("a"), cluster.netid("b"));
    cluster.ask("b", "join:a", "id1");
    cluster.settle();
    let outcome = cluster.outcome("b");
    assert_eq!(cluster.netid("b"), a);
    assert_eq!(outcome.outcome, Verdict::Applied);
    assert_eq!(
        (outcome.request.as_str(), outcome.id.as_deref()),
        ("join:a", Some("id1"))
    );
    assert_eq!(
        (outcome.from.map(u64::from), outcome.to.map(u64::from)),
        (Some(b), Some(a))
    );

    for request in ["join:nobody", "nonsense", ""] {
        cluster.ask("b", request, "id2");
        cluster.settle();
        let outcome = cluster.outcome("b");
        assert_eq!(
            (outcome.outcome, outcome.request.as_str()),
            (Verdict::Refused, request)
        );
        assert_eq!(cluster.netid("b"), a, "a refusal changes nothing");
    }

    cluster.ask("c", "global", "id3");
    cluster.ask("a", "isolate", "id4");
    cluster.settle();
    assert_eq!(cluster.netid("c"), 0);
    let isolated = cluster.netid("a");
    assert!(isolated != a && isolated >= 10, "b holds the old number");
    assert_eq!(cluster.outcome("a").outcome, Verdict::Applied);

    // The last holder's old number is free again, and a new project may join at once.
    cluster.put(namespace("new"));
    cluster.ask("b", "join:new", "id5");
    cluster.settle();
    assert_eq!(cluster.netid("b"), cluster.netid("new"));
}

#[test]
fn isolating_all_at_once_gives_all_different_numbers() {
    let mut cluster = Cluster::new([]);
    let names: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
    for name in &names {
        cluster.put(namespace(name));
        cluster.put(net(name, 42));
    }
    for name in &names {
        cluster.ask(name, "isolate", "x");
    }
    cluster.settle();
    let all: BTreeSet<u64> = names.iter().map(|n| cluster.netid(n)).collect();
    assert_eq!(all.len(), 50);
}

#[test]
fn bad_objects_neither_stop_the_rest_nor_lose_their_number() {
    let bad = object(
        json!({"apiVersion": "network.openshift.io/v1", "kind": "NetNamespace", "metadata": {"name": "bad"},
                            "netname": "other", "netid": 10}),
    );
    let mut cluster = Cluster::new([bad, namespace("bad"), namespace("good")]);
    cluster.ask("bad", "global", "x");
    let (_, problems) = cluster.pass();
    assert!(problems.contains("NetNamespace/bad: netname"), "{problems}");
    assert_eq!(cluster.outcome("bad").outcome, Verdict::Refused);
    assert_ne!(cluster.netid("good"), 10);
}
