//! Objects in, writes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::annotations::{CHANGE_NETWORK, NODE_UID, Outcome, REQUEST_ID, Verdict};
use super::super::plan::{Memory, Write};
use super::{host, namespace, net, network, node, object};
use crate::store::{Key, Listing, Object};

/// A store that takes every write.
#[derive(Default)]
struct Cluster {
    objects: BTreeMap<Key, Object>,
    memory: Memory,
    random: u32,
}

impl Cluster {
    fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut cluster = Self::default();
        let entries = json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}]);
        cluster.put(network("multitenant", &entries));
        objects.into_iter().for_each(|object| cluster.put(object));
        cluster
    }

    fn put(&mut self, object: Object) {
        self.objects.insert(object.key.clone(), object);
    }

    fn remove(&mut self, kind: &str, name: &str) {
        self.objects.remove(&Key::cluster(kind, name)).unwrap();
    }

    fn get(&self, kind: &str, name: &str) -> &Value {
        &self.objects[&Key::cluster(kind, name)].value
    }

    fn netid(&self, name: &str) -> u64 {
        self.get("NetNamespace", name)["netid"].as_u64().unwrap()
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.objects.contains_key(&Key::cluster(kind, name))
    }

    /// One pass; answers how many writes there were, and the problems.
    fn pass(&mut self) -> (usize, String) {
        let objects = self.objects.values().cloned().map(Arc::new).collect();
        let listing = Listing {
            objects,
            problems: Vec::new(),
        };
        let random = &mut self.random;
        let plan = self.memory.plan(&listing, &mut |bound| {
            *random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
            *random % bound
        });
        let count = plan.writes.len();
        for step in plan.writes {
            let there = self.objects.contains_key(&step.object.key);
            match step.how {
                Write::Create => assert!(!there, "{step:?}"),
                Write::Update | Write::Delete => assert!(there, "{step:?}"),
            }
            if step.how == Write::Delete {
                self.objects.remove(&step.object.key);
            } else {
                self.put(step.object);
            }
        }
        let lines: Vec<String> = plan
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.object, p.message))
            .collect();
        (count, lines.join("\n"))
    }

    /// Passes until nothing is left to do.
    fn settle(&mut self) -> String {
        let (_, problems) = self.pass();
        let again = self.pass();
        assert_eq!(again.0, 0, "a pass without change writes nothing");
        problems
    }

    fn ask(&mut self, name: &str, request: &str, id: &str) {
        let object = self
            .objects
            .get_mut(&Key::cluster("NetNamespace", name))
            .unwrap();
        object.set_annotation(CHANGE_NETWORK, Some(request));
        object.set_annotation(REQUEST_ID, Some(id));
    }

    fn outcome(&self, name: &str) -> Outcome {
        let object = &self.objects[&Key::cluster("NetNamespace", name)];
        assert_eq!(
            object.annotation(CHANGE_NETWORK),
            None,
            "the request is gone"
        );
        assert_eq!(object.annotation(REQUEST_ID), None);
        Outcome::of(object).unwrap()
    }
}

#[test]
fn every_node_gets_a_subnet() {
    let mut cluster = Cluster::new([node("n1", "192.0.2.1"), node("n2", "192.0.2.2")]);
    assert_eq!(cluster.settle(), "");
    let made = cluster.get("HostSubnet", "n1");
    assert_eq!(made["host"], "n1");
    assert_eq!(made["hostIP"], "192.0.2.1");
    assert_eq!(made["subnet"], "10.128.0.0/23");
    assert_eq!(made["metadata"]["annotations"][NODE_UID], "uid-n1");
    assert_eq!(cluster.get("HostSubnet", "n2")["subnet"], "10.129.0.0/23");

    cluster.put(node("n1", "192.0.2.9"));
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "n1")["hostIP"], "192.0.2.9");
    assert_eq!(cluster.get("HostSubnet", "n1")["subnet"], "10.128.0.0/23");

    cluster.remove("Node", "n1");
    cluster.settle();
    assert!(!cluster.has("HostSubnet", "n1"));
    cluster.put(node("n3", "192.0.2.3"));
    cluster.settle();
    assert_eq!(
        cluster.get("HostSubnet", "n3")["subnet"],
        "10.130.0.0/23",
        "next fit"
    );
}

#[test]
fn existing_subnets_are_adopted_and_respected() {
    let mut cluster = Cluster::new([
        node("a", "192.0.2.1"),
        node("b", "192.0.2.2"),
        host("b", "192.0.2.2", "10.128.0.0/23"),
        host("external", "192.0.2.3", "10.129.0.0/24"),
    ]);
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "a")["subnet"], "10.130.0.0/23");
    let adopted = cluster.get("HostSubnet", "b");
    assert_eq!(adopted["subnet"], "10.128.0.0/23");
    assert_eq!(adopted["metadata"]["annotations"][NODE_UID], "uid-b");
    assert!(cluster.get("HostSubnet", "external")["metadata"]["annotations"].is_null());
    cluster.remove("Node", "b");
    cluster.settle();
    assert!(!cluster.has("HostSubnet", "b"));
    assert!(
        cluster.has("HostSubnet", "external"),
        "nobody made it for a Node"
    );
}

#[test]
fn a_cluster_with_both_families_gives_both() {
    let mut cluster = Cluster::new([node("n1", "192.0.2.1")]);
    cluster.settle();
    cluster.put(network(
        "subnet",
        &json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}, {"CIDR": "fd01::/48", "hostSubnetLength": 64}]),
    ));
    cluster.put(node("n2", "192.0.2.2"));
    assert_eq!(cluster.settle(), "");
    let grown = cluster.get("HostSubnet", "n1");
    assert_eq!(grown["subnet"], "10.128.0.0/23", "what it has stays");
    assert_eq!(grown["subnets"], json!(["10.128.0.0/23", "fd01::/64"]));
    let fresh = cluster.get("HostSubnet", "n2");
    assert_eq!(
        fresh["subnets"],
        json!(["10.129.0.0/23", "fd01:0:0:1::/64"])
    );

    let mut six = Cluster::new([node("n1", "192.0.2.1")]);
    six.put(network(
        "subnet",
        &json!([{"CIDR": "fd01::/48", "hostSubnetLength": 64}]),
    ));
    six.settle();
    assert_eq!(six.get("HostSubnet", "n1")["subnet"], "fd01::/64");
}

#[test]
fn ranges_are_used_in_order_and_a_full_cluster_is_told() {
    let mut cluster = Cluster::new([]);
    let entry = |cidr: &str| json!({"CIDR": cidr, "hostSubnetLength": 8});
    cluster.put(network(
        "subnet",
        &json!([entry("10.5.0.0/24"), entry("10.6.0.0/24")]),
    ));
    for n in 1..=3 {
        cluster.put(node(&format!("n{n}"), &format!("192.0.2.{n}")));
    }
    let problems = cluster.settle();
    assert!(
        problems.contains("HostSubnet/n3: no IPv4 subnet is free"),
        "{problems}"
    );
    assert_eq!(cluster.get("HostSubnet", "n1")["subnet"], "10.5.0.0/24");
    assert_eq!(cluster.get("HostSubnet", "n2")["subnet"], "10.6.0.0/24");
    cluster.remove("Node", "n1");
    let problems = cluster.pass().1;
    assert!(
        problems.contains("n3"),
        "freed only once it is gone: {problems}"
    );
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "n3")["subnet"], "10.5.0.0/24");
}

#[test]
fn nodes_that_cannot_be_are_told() {
    let mut silent = node("silent", "192.0.2.8");
    silent.value["status"]["addresses"] = json!([{"type": "ExternalIP", "address": "192.0.2.8"}]);
    let mut cluster = Cluster::new([
        node("in-pods", "10.128.0.9"),
        node("in-services", "172.30.0.1"),
        node("loop", "127.0.0.1"),
        node("text", "x"),
        node("one", "192.0.2.1"),
        node("two", "192.0.2.1"),
        silent,
    ]);
    let problems = cluster.settle();
    for name in ["in-pods", "in-services", "loop", "text", "two", "silent"] {
        assert!(
            problems.contains(&format!("Node/{name}: ")),
            "{name}: {problems}"
        );
        assert!(!cluster.has("HostSubnet", name), "{name}");
    }
    assert!(cluster.has("HostSubnet", "one"));
}

#[test]
fn who_has_an_address_keeps_it_and_two_may_swap() {
    let mut cluster = Cluster::new([
        node("a", "192.0.2.1"),
        node("b", "192.0.2.1"),
        host("b", "192.0.2.1", "10.128.0.0/23"),
    ]);
    let problems = cluster.settle();
    assert!(problems.contains("Node/a"), "{problems}");
    cluster.put(node("a", "192.0.2.2"));
    assert_eq!(cluster.settle(), "");
    cluster.put(node("a", "192.0.2.1"));
    cluster.put(node("b", "192.0.2.2"));
    assert_eq!(cluster.settle(), "");
    assert_eq!(cluster.get("HostSubnet", "a")["hostIP"], "192.0.2.1");
    assert_eq!(cluster.get("HostSubnet", "b")["hostIP"], "192.0.2.2");
}

#[test]
fn subnets_are_assigned_on_request() {
    let mut asked = host("f5", "192.0.2.7", "");
    asked.set_annotation(super::super::annotations::ASSIGN_SUBNET, Some(""));
    let mut cluster = Cluster::new([asked]);
    assert_eq!(cluster.settle(), "");
    let got = cluster.get("HostSubnet", "f5");
    assert_eq!(got["subnet"], "10.128.0.0/23");
    assert!(got["metadata"]["annotations"].is_null());
}

#[test]
fn a_bad_host_subnet_is_mended_as_far_as_the_node_tells() {
    let mut cluster = Cluster::new([
        node("a", "192.0.2.1"),
        host("a", "127.0.0.1", "10.128.0.0/23"),
        node("b", "192.0.2.2"),
        host("b", "192.0.2.2", ""),
        node("c", "192.0.2.3"),
        host("c", "192.0.2.3", "10.130.0.1/23"),
    ]);
    let problems = cluster.settle();
    assert_eq!(cluster.get("HostSubnet", "a")["hostIP"], "192.0.2.1");
    assert_eq!(cluster.get("HostSubnet", "b")["subnet"], "10.129.0.0/23");
    assert!(
        problems.contains("HostSubnet/c: subnet: 10.130.0.1/23 has host bits set"),
        "{problems}"
    );
}

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
    let all: std::collections::BTreeSet<u64> = names.iter().map(|n| cluster.netid(n)).collect();
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

#[test]
fn without_a_network_nothing_is_written() {
    let mut cluster = Cluster::new([node("n", "192.0.2.1"), namespace("a")]);
    cluster.remove("ClusterNetwork", "default");
    let (writes, problems) = cluster.pass();
    assert_eq!(writes, 0);
    assert!(
        problems.contains("ClusterNetwork/default: does not exist"),
        "{problems}"
    );
    cluster.put(network("wrong", &json!([])));
    assert_eq!(cluster.pass().0, 0);
}
