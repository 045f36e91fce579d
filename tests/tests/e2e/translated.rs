//! What a pod sends to an address that its node translates, out of the cluster or to a node: the egress firewall judges the real
//! destination.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_lab::probe::{self, Outcome};
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, now, two_nodes};
use crate::party::{PORT, Party, udp};

/// How long a connection that must not get through is tried; that it was dropped is known from the node.
const GLANCE: Duration = Duration::from_millis(100);
const ALLOWED: [&str; 2] = ["203.0.113.7", "2001:db8::7"];
const DENIED: [&str; 2] = ["198.51.100.9", "2001:db8::9"];
/// Of services; the first address is the API server's.
const SERVICES: [&str; 2] = ["172.30.0.", "fd02::"];

const POLICY: &str = "
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Allow, to: {cidrSelector: 203.0.113.7/32}}
  - {type: Allow, to: {cidrSelector: '2001:db8::7/128'}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
  - {type: Deny, to: {cidrSelector: '::/0'}}
";

struct Field {
    cluster: Cluster,
    shop: Party,
    /// Of a project without a policy, on the same node.
    bank: Party,
    web: Party,
    node1: Party,
    node2: Party,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let web = cluster.state().unwrap().externals[0].underlay[1].to_string();
        let local = ["ip", "route", "add", "local", DENIED[1], "dev", "lo"];
        cluster.run("web", &local).ok();
        let there = ["ip", "route", "add", DENIED[1], "via", &web];
        cluster.run("node1", &there).ok();
        let pod = |label| Party::of_pod(&cluster.pod(label, "node1"));
        let node = |name| {
            let ips = [false, true].map(|ipv6| cluster.node_ip(name, ipv6));
            Party::of_host(&cluster, name, ips.to_vec())
        };
        let ips = [ALLOWED, DENIED].concat();
        let ips = ips.iter().map(|ip| ip.parse().unwrap());
        let field = Self {
            shop: pod("shop/a"),
            bank: pod("bank/b"),
            web: Party::of_host(&cluster, "web", ips.collect()),
            node1: node("node1"),
            node2: node("node2"),
            cluster,
        };
        field.cluster.apply(POLICY, "the test").unwrap();
        let denied = SocketAddr::new(ip(DENIED[0]), PORT);
        eventually("the policy is in force", || {
            // Of a connection that began before, packets would be dropped later.
            udp(&field.shop.netns, None, denied, GLANCE) == Outcome::Silent
        });
        field
    }

    /// Neither reaches anybody, and the node names rule and real destination.
    #[track_caller]
    fn denied(&self, at: SocketAddr, real: IpAddr) {
        for protocol in ["TCP", "UDP"] {
            let since = now();
            let outcome = match protocol {
                "TCP" => probe::tcp(&self.shop.netns, at, GLANCE).unwrap(),
                _ => udp(&self.shop.netns, None, at, GLANCE),
            };
            assert_eq!(outcome, Outcome::Silent, "{protocol} {at}, which is {real}");
            let what = format!("{protocol} to {at}, which is {real}");
            let event = self.cluster.dropped("node1", &what, |drop| {
                drop.protocol == protocol && drop.destination.ip == Some(real) && drop.time >= since
            });
            let told = (event.hook.as_str(), event.reason.as_str());
            assert_eq!(told, ("after_dnat", "EgressDenied"), "{what}");
            assert_eq!(event.source.pod.as_deref(), Some("shop/a"), "{what}");
            assert_eq!(event.destination.port, PORT, "{what}");
            assert_eq!(event.policy.as_deref(), Some("shop/default"), "{what}");
            let rule = if real.is_ipv6() { 4 } else { 3 };
            assert_eq!(event.rule, Some(rule), "{what}");
        }
    }
}

/// Both TCP and UDP reach the server, which sees this peer.
#[track_caller]
fn reaches(from: &Party, at: SocketAddr, server: &Party, peer: IpAddr) {
    let expected = reached(server, peer);
    let tcp = probe::tcp(&from.netns, at, SOON).unwrap();
    assert_eq!(tcp, expected, "TCP {from} -> {at}");
    let udp = udp(&from.netns, None, at, SOON);
    assert_eq!(udp, expected, "UDP {from} -> {at}");
}

fn reached(server: &Party, peer: IpAddr) -> Outcome {
    Outcome::Reached {
        peer_seen: peer,
        server: server.name.clone(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_service_is_no_way_past_the_egress_firewall() {
    let field = Field::new();
    for ipv6 in [false, true] {
        let index = usize::from(ipv6);
        let service = |last: u8| SocketAddr::new(ip(&format!("{}{last}", SERVICES[index])), 80);
        let port = SocketAddr::new(field.cluster.gateway("node1", ipv6), 30_080);
        let node1 = field.node1.ip(ipv6);
        let bank = field.bank.ip(ipv6);
        // A pod leaves with its node's address, and comes to its own node with its own.
        let cases = [
            (service(10), ip(DENIED[index]), &field.web, node1, false),
            (service(11), ip(ALLOWED[index]), &field.web, node1, true),
            (
                service(12),
                field.node2.ip(ipv6),
                &field.node2,
                node1,
                false,
            ),
            (service(13), node1, &field.node1, bank, false),
            (port, node1, &field.node1, bank, false),
        ];
        for (at, real, server, peer, allowed) in cases {
            field
                .cluster
                .translate("node1", at, SocketAddr::new(real, PORT));
            if allowed {
                reaches(&field.shop, at, server, peer);
            } else {
                field.denied(at, real);
            }
            reaches(&field.bank, at, server, peer);
        }
        // Or a policy that denies everything would take the API server from its project. It has but one address.
        let first = service(1);
        let https = SocketAddr::new(first.ip(), 443);
        for at in [first, https] {
            field
                .cluster
                .translate("node1", at, SocketAddr::new(ip(DENIED[index]), PORT));
        }
        field.denied(first, ip(DENIED[index]));
        if ipv6 {
            field.denied(https, ip(DENIED[index]));
        } else {
            let tcp = probe::tcp(&field.shop.netns, https, SOON).unwrap();
            assert_eq!(tcp, reached(&field.web, node1), "{https}");
        }
    }
    let dropped = field.cluster.pod_count("node1", "shop/a", "EgressDenied");
    assert!(dropped >= 16, "charged to the sender: {dropped} packets");
    let status = field.cluster.agent_status("node1");
    assert!(status.problems.is_empty(), "{:?}", status.problems);
}
