//! What administrators see of the egress firewall: explain agrees with the wire, hits and events name the rule, policies
//! that do not count are told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_agent::api::view::{
    EgressPolicy, EgressPolicyState, Explanation, KnownAddress, Outcome, Status, Way,
};
use weft_lab::probe;
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, Pod, Store, now, on_both_stores, two_nodes};
use crate::icmp::ping;
use crate::party::{PORT, Party, udp, udp_socket};

/// How long a connection that explain calls denied is tried.
const GLANCE: Duration = Duration::from_millis(150);

const POLICY: &str = "
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Allow, to: {cidrSelector: 198.51.100.9/32}}
  - {type: Deny, to: {cidrSelector: 198.51.100.0/24, ports: [{protocol: UDP, port: 7000}]}}
  - {type: Allow, to: {cidrSelector: 203.0.113.7/32}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
  - {type: Deny, to: {cidrSelector: '2001:db8::7/128'}}
";

struct Field {
    cluster: Cluster,
    shop: Pod,
    sibling: Party,
    bank: Party,
    far: Party,
    far_bank: Party,
    _web: Party,
    node1: Party,
}

impl Field {
    fn new() -> Self {
        Self::on(Store::Manifests)
    }

    fn on(store: Store) -> Self {
        let cluster = Cluster::up_on(store, &two_nodes());
        let shop = cluster.pod("shop/a", "node1");
        let sibling = cluster.pod("shop/a2", "node1");
        let bank = cluster.pod("bank/b", "node1");
        let far = cluster.pod("shop/a3", "node2");
        let far_bank = cluster.pod("bank/b2", "node2");
        let ips = [
            "203.0.113.7",
            "2001:db8::7",
            "198.51.100.9",
            "198.51.100.77",
        ];
        let web = ips.map(|ip| ip.parse().unwrap()).to_vec();
        let mut node1: Vec<_> = [false, true].map(|v6| cluster.node_ip("node1", v6)).into();
        node1.extend([false, true].map(|v6| cluster.gateway("node1", v6)));
        let field = Self {
            shop,
            sibling: Party::of_pod(&sibling),
            bank: Party::of_pod(&bank),
            far: Party::of_pod(&far),
            far_bank: Party::of_pod(&far_bank),
            _web: Party::of_host(&cluster, "web", web),
            node1: Party::of_host(&cluster, "node1", node1),
            cluster,
        };
        field.cluster.apply(POLICY, "the test").unwrap();
        field.becomes("shop", EgressPolicyState::Enforced);
        field
    }

    fn policies(&self, node: &str, namespace: &str) -> Vec<EgressPolicy> {
        let args = ["get", "enp", "-n", namespace, "-o", "json"];
        serde_json::from_str(&self.cluster.ask(node, &args).ok()).unwrap()
    }

    /// Waits until each policy of a namespace is in a state on node1.
    fn becomes(&self, namespace: &str, state: EgressPolicyState) -> Vec<EgressPolicy> {
        let mut found = Vec::new();
        eventually(&format!("policies of {namespace} {state:?}"), || {
            found = self.policies("node1", namespace);
            !found.is_empty() && found.iter().all(|it| it.state == state)
        });
        found
    }

    fn explain(&self, from: &str, to: &str) -> (Option<i32>, Explanation) {
        let args = ["explain", "--from", from, "--to", to, "-o", "json"];
        let said = self.cluster.ask("node1", &args);
        let found = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{from} -> {to}: {error}: {said:?}"));
        (said.code, found)
    }

    /// What explain says of one address, after the wire has said the same.
    fn agreed(&self, to: IpAddr, protocol: &str) -> Explanation {
        let at = SocketAddr::new(to, PORT);
        let target = match protocol {
            "icmp" => to.to_string(),
            _ => format!("{at}/{protocol}"),
        };
        let (code, found) = self.explain("shop/a", &target);
        let allowed = found.outcome == Outcome::Allowed;
        assert_eq!(code, Some(i32::from(!allowed)), "{target}: {found:?}");
        let patience = if allowed { SOON } else { GLANCE };
        let from = &self.shop.netns;
        let passed = match protocol {
            "tcp" => probe::tcp(from, at, patience).unwrap().reached(),
            "udp" => udp(from, None, at, patience).reached(),
            _ => ping(from, to, patience),
        };
        assert_eq!(passed, allowed, "{target} on the wire; explain: {found:?}");
        assert_eq!(found.answers.len(), 1, "{found:?}");
        found
    }

    fn status(&self) -> Status {
        self.cluster.agent_status("node1")
    }
}

fn way(found: &Explanation) -> &Way {
    found.answers[0].way.as_ref().unwrap()
}

#[test]
fn explain_agrees_with_the_wire_and_names_the_rule() {
    let field = Field::new();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (node, node_v6) = (field.node1.ips[0], field.node1.ips[1]);
    let external = |node: Option<&str>| Way::External {
        node: node.map(str::to_owned),
    };
    let node2 = field.cluster.node_ip("node2", false);
    for (to, protocol, rule, outcome) in [
        (ip("198.51.100.9"), "tcp", Some(1), Ok(external(None))),
        (ip("198.51.100.9"), "udp", Some(1), Ok(external(None))),
        (ip("198.51.100.9"), "icmp", Some(1), Ok(external(None))),
        (ip("198.51.100.77"), "udp", Some(2), Err("EgressDenied")),
        (ip("198.51.100.77"), "tcp", Some(4), Err("EgressDenied")),
        (ip("198.51.100.77"), "icmp", Some(4), Err("EgressDenied")),
        (ip("203.0.113.7"), "tcp", Some(3), Ok(external(None))),
        (ip("2001:db8::7"), "tcp", Some(5), Err("EgressDenied")),
        (ip("2001:db8::7"), "icmp", Some(5), Err("EgressDenied")),
        (node2, "tcp", Some(4), Err("EgressDenied")),
        // The node itself is outside; the rules have no word on its IPv6 address.
        (node, "tcp", Some(4), Err("EgressDenied")),
        (node_v6, "tcp", None, Ok(Way::Node)),
        // What stays in the pod network is not the egress firewall's.
        (field.node1.ips[2], "tcp", None, Ok(Way::Node)),
        (field.node1.ips[3], "icmp", None, Ok(Way::Node)),
        (
            field.sibling.ip(false),
            "udp",
            None,
            Ok(Way::Pod {
                pod: "shop/a2".into(),
            }),
        ),
        (field.bank.ip(false), "tcp", None, Err("Isolated")),
        (field.bank.ip(true), "icmp", None, Err("Isolated")),
        (ip("224.0.0.9"), "udp", None, Err("MulticastDisabled")),
    ] {
        let found = field.agreed(to, protocol);
        let answer = &found.answers[0];
        let said = match &outcome {
            Ok(_) => Ok(way(&found).clone()),
            Err(_) => Err(answer.reason.as_deref().unwrap()),
        };
        assert_eq!(said, outcome, "{to} {protocol}: {answer:?}");
        assert_eq!(answer.rule, rule, "{to} {protocol}: {answer:?}");
        if rule.is_some() {
            assert_eq!(answer.policy.as_deref(), Some("shop/default"));
        }
    }
    let denied = field.agreed(ip("198.51.100.77"), "udp");
    let text = denied.answers[0].rule_text.as_deref();
    assert_eq!(text, Some("Deny 198.51.100.0/24 UDP/7000"));

    // Across nodes: this node forwards with the sender's number, and the other one admits.
    let across = field.agreed(field.far.ip(true), "tcp");
    let vnid = across.vnid.unwrap();
    let node = "node2".to_owned();
    assert_eq!(*way(&across), Way::Overlay { node, vnid });
    let (_, other) = field.explain("shop/a", &field.far_bank.ip(false).to_string());
    assert!(
        other.answers[0].text.contains(&format!("network {vnid}")),
        "{other:?}"
    );
    assert!(!ping(&field.shop.netns, field.far_bank.ip(false), GLANCE));

    // A project without a policy.
    let (code, free) = field.explain("bank/b", "198.51.100.77:7000/udp");
    assert_eq!((code, &free.answers[0].policy), (Some(0), &None));
}

#[test]
fn explain_says_why_it_has_no_answer() {
    let field = Field::new();
    let refused = |from: &str, to: &str, text: &str| {
        let args = ["explain", "--from", from, "--to", to];
        let said = field.cluster.ask("node1", &args);
        assert_eq!(said.code, Some(2), "{said:?}");
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains(text), "{from} -> {to}: {all}");
    };
    let far = field.far.ip(false).to_string();
    refused("shop/none", "198.51.100.9", "node1");
    refused("shop", "198.51.100.9", "NAMESPACE/NAME");
    refused(&far, "198.51.100.9", "is a pod address of node node2");
    refused("192.0.2.1", "198.51.100.9", "no other node");
    refused("shop/a", "198.51.100.9:http", "is no port");
    refused("shop/a", "www.example.com", "no policy of project shop");

    let names = "
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: bank}
spec:
  egress:
  - {type: Allow, to: {dnsName: www.example.com}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
";
    field.cluster.apply(names, "the test").unwrap();
    let [bank] = &field.becomes("bank", EgressPolicyState::Enforced)[..] else {
        panic!("one policy");
    };
    let addresses: Vec<&Option<Vec<KnownAddress>>> =
        bank.rules.iter().map(|rule| &rule.addresses).collect();
    assert_eq!(addresses, [&Some(Vec::new()), &None]);
    let table = ["get", "egress-policies", "bank", "--rules"];
    let table = field.cluster.ask("node1", &table).ok();
    assert!(table.contains("unresolved"), "{table}");
    refused(
        "bank/b",
        "www.example.com:443",
        "no address of www.example.com is known",
    );
}

#[test]
fn hits_and_events_name_the_rule() {
    let field = Field::new();
    let policy = || field.policies("node1", "shop").remove(0);
    let packets = |policy: &EgressPolicy| -> Vec<u64> {
        policy.rules.iter().map(|rule| rule.packets).collect()
    };
    let before = policy();
    assert_eq!(packets(&before), [0; 5], "{before:?}");
    assert!(before.rules.iter().all(|rule| rule.last_hit.is_none()));
    // What only asks counts nothing.
    field.explain("shop/a", "198.51.100.77:7000/udp");
    let start = now();
    let at = SocketAddr::new("198.51.100.77".parse().unwrap(), PORT);
    let socket = udp_socket(&field.shop.netns, None, at);
    for _ in 0..3 {
        socket.send(b"four").unwrap();
    }
    let mut found = policy();
    eventually("three packets counted", || {
        found = policy();
        found.rules[1].packets >= 3
    });
    assert_eq!(packets(&found), [0, 3, 0, 0, 0], "{found:?}");
    let rule = &found.rules[1];
    assert_eq!(rule.number, 2);
    assert_eq!(rule.text, "Deny 198.51.100.0/24 UDP/7000");
    // Ethernet, IPv4, UDP, and the four bytes.
    assert_eq!(rule.bytes, 3 * (14 + 20 + 8 + 4));
    let last = rule.last_hit.unwrap();
    // The programs' clock is up to ten milliseconds behind (a tick of a kernel with HZ=100).
    let start = start - 10_000_000;
    assert!((start..=now()).contains(&last), "{start} {last}");

    let port = socket.local_addr().unwrap().port();
    let event = field.cluster.dropped("node1", "the datagrams", |drop| {
        drop.reason == "EgressDenied" && drop.source.port == port
    });
    assert_eq!(event.policy.as_deref(), Some("shop/default"));
    assert_eq!(event.rule, Some(2));
    assert_eq!(
        event.rule_text.as_deref(),
        Some("Deny 198.51.100.0/24 UDP/7000")
    );
    let lines = field.cluster.ask("node1", &["get", "drops"]).ok();
    let told = "rule 2 of shop/default: Deny 198.51.100.0/24 UDP/7000";
    assert!(lines.contains(told), "{lines}");

    let figures = field.cluster.ask("node1", &["metrics"]).ok();
    for line in [
        "weft_egress_policies{state=\"Enforced\"} 1",
        "weft_egress_policies{state=\"Closed\"} 0",
        "weft_egress_packets_total{namespace=\"shop\",action=\"deny\"} 3",
        "weft_drops_total{reason=\"EgressDenied\"} 3",
        "weft_endpoints 3",
        "# EOF",
    ] {
        assert!(
            figures.lines().any(|it| it == line),
            "{line} in:\n{figures}"
        );
    }
}

on_both_stores!(policies_out_of_force_are_told);

fn policies_out_of_force_are_told(store: Store) {
    let field = Field::on(store);
    let status = field.status();
    assert_eq!((status.egress.enforced, &status.problems), (1, &Vec::new()));
    let object = "EgressNetworkPolicy/shop/default";
    let told = |object: &str, text: &str| {
        let problems = field.status().problems;
        let about: Vec<_> = problems.iter().filter(|it| it.object == object).collect();
        assert_eq!(about.len(), 1, "{object}: {problems:?}");
        assert!(about[0].message.contains(text), "{:?}", about[0]);
    };
    let network = |args: &[&str]| {
        let args = [&["pod-network"], args].concat();
        field.cluster.ask("node1", &args).ok();
    };

    network(&["make-projects-global", "shop"]);
    let ignored = field.becomes("shop", EgressPolicyState::Ignored).remove(0);
    assert!(ignored.reason.contains("global"), "{ignored:?}");
    told(object, "global");
    let allowed = field.agreed("198.51.100.77".parse().unwrap(), "udp");
    assert_eq!(allowed.answers[0].policy, None, "it is ignored");
    let log = std::fs::read_to_string(field.cluster.log("node1")).unwrap();
    assert!(log.contains("egress policy not in force"), "the log tells");

    network(&["isolate-projects", "shop"]);
    field.becomes("shop", EgressPolicyState::Enforced);
    assert_eq!(field.status().problems, []);

    network(&["join-projects", "--to=bank", "shop"]);
    let closed = field.becomes("shop", EgressPolicyState::Closed).remove(0);
    assert!(closed.reason.contains("bank"), "{closed:?}");
    told(object, "bank");
    // The project that has no policy is closed all the same.
    told("NetNamespace/bank", "joined");
    let found = field.agreed("203.0.113.7".parse().unwrap(), "udp");
    assert_eq!(found.answers[0].reason.as_deref(), Some("EgressClosed"));
    assert!(found.answers[0].text.contains(&closed.reason), "{found:?}");
    let event = field
        .cluster
        .dropped("node1", "a closed project's packet", |drop| {
            drop.reason == "EgressClosed"
        });
    assert!(event.text.contains(&closed.reason), "{event:?}");
    network(&["isolate-projects", "shop"]);
    field.becomes("shop", EgressPolicyState::Enforced);

    // An invalid object is one problem, which tells what is wrong with it; an API server does not take it.
    let invalid = POLICY.replace("198.51.100.9/32", "198.51.100.300/32");
    let applied = field.cluster.apply(&invalid, "the test");
    let state = if store == Store::Manifests {
        applied.unwrap();
        field.becomes("shop", EgressPolicyState::Closed);
        eventually("the invalid object is told", || {
            !field.status().problems.is_empty()
        });
        told(object, "spec.egress[0]");
        assert_eq!(field.status().egress.closed, 1);
        "Closed"
    } else {
        let refused = applied.unwrap_err().to_string();
        assert!(refused.contains("spec.egress[0]"), "{refused}");
        field.becomes("shop", EgressPolicyState::Enforced);
        assert_eq!(field.status().problems, []);
        "Enforced"
    };

    // Valid, but for nobody here.
    let lone = POLICY.replace("namespace: shop", "namespace: lone");
    field.cluster.apply(&lone, "the test").unwrap();
    let [lone] = &field.becomes("lone", EgressPolicyState::NotLocal)[..] else {
        panic!("one policy");
    };
    assert_eq!(lone.rules.len(), 5);
    let table = field.cluster.ask("node1", &["status"]).ok();
    let line = format!("policies: 1 {state}, 1 NotLocal");
    assert!(table.contains(&line), "{table}");
}
