//! A cluster with an attacker in it, whose policy denies the outside, and with victims of another project.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use weft_lab::probe;
use weft_netns::NetNs;
use weft_wait::eventually;

use super::frames::{Knowledge, VXLAN};
use crate::cluster::{Cluster, Pod, two_nodes};
use crate::frame::Mac;
use crate::wire::mac;

pub const PORT: u16 = 7000;
/// Services, as a proxy translates them that hides its clients behind the node.
const SERVICES: [&str; 2] = ["172.30.0.", "fd02::"];
/// The outside.
const WEB: [&str; 4] = [
    "203.0.113.7",
    "2001:db8::7",
    "198.51.100.9",
    "198.51.100.200",
];

pub struct Field {
    pub cluster: Cluster,
    pub attacker: Pod,
    /// Of another project: on the attacker's node, and on the other one.
    pub near: Pod,
    pub far: Pod,
}

impl Field {
    pub fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let field = Self {
            attacker: cluster.pod("a/attacker", "node1"),
            near: cluster.pod("b/near", "node1"),
            far: cluster.pod("b/far", "node2"),
            cluster,
        };
        field.translate();
        let deny = |cidr: &str| json!({"type": "Deny", "to": {"cidrSelector": cidr}});
        let policy = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
            "metadata": {"namespace": "a", "name": "none"},
            "spec": {"egress": [deny("0.0.0.0/0"), deny("::/0")]},
        });
        field.cluster.apply(&policy.to_string(), "a test").unwrap();
        let web = SocketAddr::new(WEB[0].parse().unwrap(), PORT);
        eventually("the attacker's policy is in force", || {
            drop(probe::tcp(
                &field.attacker.netns,
                web,
                Duration::from_millis(60),
            ));
            field.cluster.count("node1", "EgressDenied") > 0
        });
        field
    }

    /// Services that lead to each victim, to the outside, to the other node and its overlay, and to the attacker himself; whatever
    /// is asked of the node's address in the pod network at one port leads to a victim too.
    fn translate(&self) {
        for ipv6 in [false, true] {
            let index = usize::from(ipv6);
            let translate = |at: &str, to| {
                let at = at.parse().unwrap();
                self.cluster.translate_all("node1", at, to);
            };
            let node2 = self.cluster.node_ip("node2", ipv6);
            let (near, far) = (self.near.ips[index], self.far.ips[index]);
            let targets = [
                near,
                far,
                WEB[index].parse().unwrap(),
                node2,
                self.attacker.ips[index],
            ];
            for (number, target) in targets.into_iter().enumerate() {
                translate(&format!("{}{}", SERVICES[index], 10 + number), target);
            }
            let service = format!("{}20", SERVICES[index]);
            let overlay = SocketAddr::new(node2, VXLAN);
            let overlay = format!(
                "-t nat -A PREROUTING -d {service} -p udp -j DNAT --to-destination {overlay}"
            );
            self.cluster.tables("node1", ipv6, &overlay);
            let gateway = self.cluster.gateway("node1", ipv6);
            let near = SocketAddr::new(near, PORT);
            self.cluster.translate("node1", (gateway, 80).into(), near);
            self.cluster.hide_senders("node1", ipv6);
        }
    }

    pub fn node(&self, name: &str) -> NetNs {
        self.cluster.host_netns(name).unwrap()
    }

    /// What the pod knows.
    pub fn knowledge(&self, own_mac: Mac) -> Knowledge {
        let cluster = &self.cluster;
        let node1 = self.node("node1");
        let pods = cluster.pods("node1");
        let row = pods
            .iter()
            .find(|pod| pod.name == self.attacker.name)
            .unwrap();
        let both = |of: &dyn Fn(bool) -> IpAddr| [of(false), of(true)];
        let fixed = [
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "169.254.169.254",
            "172.30.0.1",
            "172.30.0.99",
            "224.0.0.1",
            "10.131.0.9",
            "::1",
            "::",
            "ff02::1",
            "ff02::2",
            "fe80::1",
            "::ffff:10.129.0.2",
            "64:ff9b::a80:2",
        ];
        let addresses = [&self.near, &self.far, &self.attacker]
            .into_iter()
            .flat_map(|pod| pod.ips.clone())
            .chain(["node1", "node2"].into_iter().flat_map(|node| {
                let gateways = both(&|ipv6| cluster.gateway(node, ipv6));
                let nodes = both(&|ipv6| cluster.node_ip(node, ipv6));
                gateways.into_iter().chain(nodes)
            }))
            .chain(WEB.iter().chain(&fixed).map(|ip| ip.parse().unwrap()));
        let services = SERVICES.iter().flat_map(|net| {
            let numbers = (10..15).chain([20]);
            numbers.map(move |number| format!("{net}{number}").parse().unwrap())
        });
        let addresses = addresses.chain(services);
        Knowledge {
            own: [self.attacker.ips[0], self.attacker.ips[1]],
            own_mac,
            gateway_mac: mac(&node1, &row.interface),
            macs: vec![
                mac(&self.near.netns, "eth0"),
                mac(&node1, "weft0"),
                mac(&node1, "eth0"),
                [0xff; 6],
                [0x01, 0, 0x5e, 0, 0, 1],
                [0; 6],
            ],
            addresses: addresses.collect(),
            vnids: cluster
                .projects("node1")
                .iter()
                .map(|project| project.vnid)
                .chain([0, 0xff_ffff])
                .collect(),
            nodes: both(&|ipv6| cluster.node_ip("node1", ipv6)),
            marker: rand::random(),
        }
    }

    /// What must be as it was: addresses, routes with their MTUs, neighbours on devices of pods, firewall rules.
    pub fn state(&self, node: &str) -> String {
        let run = |command: &[&str]| self.cluster.run(node, command).ok();
        let mut state = String::new();
        for command in [
            &["ip", "-o", "addr"][..],
            &["ip", "route", "show", "table", "all"],
            &["ip", "-6", "route", "show", "table", "all"],
            &["iptables-save"],
            &["ip6tables-save"],
        ] {
            let said = run(command);
            // Comments have the time, chains and rules counters.
            let lines = said.lines().filter(|line| !line.starts_with('#'));
            let lines = lines.map(|line| line.split(" [").next().unwrap_or(line));
            state.extend(lines.map(|line| format!("{line}\n")));
        }
        for to in [
            self.cluster.node_ip("node2", false),
            self.cluster.node_ip("node1", false),
            self.near.ips[0],
            self.far.ips[0],
        ] {
            let route = run(&["ip", "route", "get", &to.to_string()]);
            let first = route.lines().next().unwrap_or_default().to_owned();
            state.extend([first, format!(" {}\n", route.contains("mtu"))]);
        }
        state
    }

    /// What somebody in the underlay knows who is no node, and to which node he sends.
    pub fn knowledge_outside(&self, own_mac: Mac, node: &str) -> Knowledge {
        let cluster = &self.cluster;
        let externals = cluster.state().unwrap().externals;
        Knowledge {
            own: externals[0].underlay,
            gateway_mac: mac(&self.node(node), "eth0"),
            nodes: [false, true].map(|ipv6| cluster.node_ip(node, ipv6)),
            ..self.knowledge(own_mac)
        }
    }
}
