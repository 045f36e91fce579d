//! A cluster with name servers, and a host outside that answers on whole prefixes.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weft_agent::api::view;
use weft_lab::dns::{self, Change, Relay, Server};
use weft_lab::lab::Options;
use weft_lab::probe::{self, Lookup};

use crate::cluster::{Cluster, Pod, Store};
use crate::party::PORT;

/// The authoritative server, of both families; the relay before it; a cache; a server that nobody trusts.
pub const DNS: &str = "203.0.113.53";
pub const DNS6: &str = "2001:db8::53";
pub const RELAY: &str = "203.0.113.54";
pub const CACHE: &str = "203.0.113.55";
pub const STRANGER: &str = "203.0.113.66";
/// The first node, whose port 53 is open to its pods.
pub const NODE: &str = "192.168.50.11";
/// The zone whose names policies allow, and another one.
pub const ZONE: &str = "foo.com";
pub const OTHER_ZONE: &str = "example.test";

/// Nothing but what rules before these allow.
pub const DENY_ALL: [&str; 2] = ["Deny 0.0.0.0/0", "Deny ::/0"];
/// The name servers outside, which pods ask.
pub const ALLOW_DNS: [&str; 2] = ["Allow 203.0.113.0/25", "Allow 2001:db8::53/128"];

/// Everything; ended in this order.
pub struct Field {
    pub relay: Relay,
    pub dns: Server,
    _web: probe::Server,
    pub cluster: Cluster,
    store: Store,
}

impl Field {
    pub fn new(nodes: usize) -> Self {
        Self::on(Store::Manifests, nodes)
    }

    pub fn on(store: Store, nodes: usize) -> Self {
        Self::up(store, nodes, None)
    }

    /// With more in the agents' configuration.
    pub fn with(nodes: usize, agent_config: Option<&str>) -> Self {
        Self::up(Store::Manifests, nodes, agent_config)
    }

    fn up(store: Store, nodes: usize, agent_config: Option<&str>) -> Self {
        let externals = [
            format!("dns={DNS},{DNS6},{RELAY},{CACHE}"),
            "web=198.51.100.0/24,203.0.113.128/25,2001:db8:1::/48".into(),
            format!("stranger={STRANGER}"),
        ];
        let cluster = Cluster::up_on(
            store,
            &Options {
                nodes,
                externals: externals.iter().map(|spec| spec.parse().unwrap()).collect(),
                dns: [DNS, DNS6, RELAY, CACHE, NODE].map(ip).into(),
                agent_config: agent_config.map(str::to_owned),
                ..Options::default()
            },
        );
        let place = cluster.host_netns("dns").unwrap();
        let dns = Server::start(&place, &[DNS, DNS6].map(ip), &[ZONE, OTHER_ZONE]).unwrap();
        let listen = SocketAddr::new(ip(RELAY), dns::PORT);
        Self {
            relay: Relay::start(&place, listen, dns.address()).unwrap(),
            dns,
            _web: probe::Server::start(&cluster.host_netns("web").unwrap(), PORT, "web").unwrap(),
            cluster,
            store,
        }
    }

    /// A policy, in the place of the one of its name.
    pub fn apply(&self, project: &str, name: &str, rules: &[&[&str]]) {
        let rules: Vec<Value> = rules.concat().into_iter().map(rule).collect();
        self.apply_object(project, name, &json!({"egress": rules}));
    }

    pub fn apply_object(&self, project: &str, name: &str, spec: &Value) {
        assert!(self.takes(project, name, spec), "{spec}");
    }

    /// Writes a policy that may not be understood; false if an API server refused it, so that nothing has changed.
    pub fn takes(&self, project: &str, name: &str, spec: &Value) -> bool {
        let object = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
            "metadata": {"namespace": project, "name": name}, "spec": spec,
        });
        match self.cluster.apply(&object.to_string(), "a test") {
            Ok(_) => true,
            Err(error) => {
                let refused = error.to_string().contains("is invalid");
                assert!(refused && self.store == Store::ApiServer, "{error}");
                false
            }
        }
    }

    pub fn delete(&self, project: &str, name: &str) {
        let kind = "EgressNetworkPolicy";
        self.cluster.delete(kind, Some(project), name).unwrap();
    }

    /// What a node's agent says of the policies.
    pub fn policies(&self, node: &str) -> Vec<view::EgressPolicy> {
        let args = ["get", "egress-policies", "-o", "json"];
        let said = self.cluster.ask(node, &args).ok();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    pub fn policy(&self, node: &str, project: &str, name: &str) -> Option<view::EgressPolicy> {
        let mut all = self.policies(node).into_iter();
        all.find(|policy| policy.namespace == project && policy.name == name)
    }

    /// The name in [`ZONE`] has these addresses and no others.
    pub fn set(&self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        let change = Change::of(ZONE).addresses(name, ttl, addresses);
        self.dns.change(&change).unwrap();
    }
}

/// `Allow|Deny TO [PROTOCOL/PORT[-END],...]` as the object has it.
pub fn rule(text: &str) -> Value {
    let mut words = text.split(' ');
    let (kind, to) = (words.next().unwrap(), words.next().unwrap());
    let field = if to.contains('/') {
        "cidrSelector"
    } else {
        "dnsName"
    };
    let mut to = json!({ field: to });
    if let Some(ports) = words.next() {
        to["ports"] = ports.split(',').map(port).collect();
    }
    json!({"type": kind, "to": to})
}

fn port(text: &str) -> Value {
    let (protocol, range) = text.split_once('/').unwrap();
    let number = |text: &str| text.parse::<u16>().unwrap();
    match range.split_once('-') {
        Some((first, last)) => {
            json!({"protocol": protocol, "port": number(first), "endPort": number(last)})
        }
        None => json!({"protocol": protocol, "port": number(range)}),
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Address of the host outside that no policy of these tests allows by prefix; `n` at most 126.
pub fn outside(n: u8) -> IpAddr {
    [203, 0, 113, 128 + n].into()
}

/// The same in IPv6: a random one.
pub fn outside6() -> IpAddr {
    let low: u64 = rand::random();
    let high = 0x2001_0db8_0001_0000_u64;
    (u128::from(high) << 64 | u128::from(low))
        .to_be_bytes()
        .into()
}

/// A lookup in a pod that must have an answer.
pub fn look_up(pod: &Pod, lookup: Lookup, name: &str, ipv6: bool) -> probe::Answer {
    let kind = kind(ipv6);
    let asked = pod.netns.run(|| lookup.ask(name, kind)).unwrap();
    asked.unwrap_or_else(|error| panic!("{name} {kind} in {}: {error}", pod.label()))
}

/// A lookup in a pod and a connection at once; whether it got there.
pub fn connects(pod: &Pod, lookup: Lookup, name: &str, ipv6: bool) -> probe::Round {
    let connect = || lookup.connect(name, kind(ipv6), PORT, weft_wait::SOON);
    let round = pod.netns.run(connect).unwrap().unwrap();
    let went = &round.outcome;
    assert!(went.reached(), "{name} in {}: {went:?}", pod.label());
    round
}

fn kind(ipv6: bool) -> hickory_proto::rr::RecordType {
    if ipv6 {
        hickory_proto::rr::RecordType::AAAA
    } else {
        hickory_proto::rr::RecordType::A
    }
}
