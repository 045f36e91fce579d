//! Who may talk to whom in each mode, and as whom: every pair of pods, nodes and the outside world, in both families,
//! by TCP, UDP and ICMP.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use weft_agent::api::view;
use weft_lab::lab::{Mode, Options};
use weft_lab::probe::Outcome;
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, two_nodes};
use crate::party::{Judge, PORT, Party, denied, reaches, udp, udp_socket};

const FAMILIES: [bool; 2] = [false, true];

/// Two projects and the global one on two nodes, an external host.
struct Field {
    cluster: Cluster,
    pods: Vec<Party>,
    nodes: Vec<Party>,
    web: Party,
}

impl Field {
    fn new(mode: Mode) -> Self {
        let cluster = Cluster::up(&Options {
            mode,
            ..two_nodes()
        });
        let pods = [
            ("a/p1", "node1"),
            ("a/p2", "node1"),
            ("a/p3", "node2"),
            ("b/p1", "node1"),
            ("b/p3", "node2"),
            ("default/p1", "node1"),
            ("default/p3", "node2"),
        ];
        let pods = pods.map(|(label, node)| Party::of_pod(&cluster.pod(label, node)));
        let nodes = ["node1", "node2"].map(|node| {
            let ips = FAMILIES.map(|ipv6| cluster.node_ip(node, ipv6));
            let gateways = FAMILIES.map(|ipv6| cluster.gateway(node, ipv6));
            Party::of_host(&cluster, node, [ips, gateways].concat())
        });
        let ips = ["203.0.113.7", "2001:db8::7"].map(|ip| ip.parse().unwrap());
        let web = Party::of_host(&cluster, "web", ips.into());
        Self {
            cluster,
            pods: pods.into(),
            nodes: nodes.into(),
            web,
        }
    }

    fn pod(&self, label: &str) -> &Party {
        self.pods.iter().find(|pod| pod.name == label).unwrap()
    }

    fn node_of(&self, pod: &Party) -> usize {
        let (namespace, name) = pod.name.split_once('/').unwrap();
        let state = self.cluster.state().unwrap();
        usize::from(state.pod(namespace, name).unwrap().node == "node2")
    }

    /// pod -> pod, same node and other node; `may` says whether the projects are open to each other.
    fn pods_to_pods(&self, may: impl Fn(&str, &str) -> bool) {
        let pairs = self
            .pods
            .iter()
            .flat_map(|from| self.pods.iter().map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from.name != to.name) {
            let [source, target] = [from, to].map(|pod| pod.name.split('/').next().unwrap());
            for ipv6 in FAMILIES {
                if may(source, target) {
                    reaches(from, to, to.ip(ipv6), from.ip(ipv6));
                } else {
                    self.isolated(from, to, ipv6);
                }
            }
        }
    }

    fn isolated(&self, from: &Party, to: &Party, ipv6: bool) {
        let here = self.node_of(to);
        let local = self.node_of(from) == here;
        let hook = if local { "from_pod" } else { "from_overlay" };
        let judge = Judge {
            node: &self.nodes[here].name,
            hook,
            reason: "Isolated",
        };
        let event = denied(&self.cluster, from, to, ipv6, judge);
        let [source, target] = [from, to].map(|pod| pod.name.split('/').next().unwrap().to_owned());
        assert_eq!(event.source.projects, [source], "who sent it");
        assert_eq!(event.destination.projects, [target], "whom it was for");
        assert_eq!(event.destination.pod.as_ref(), Some(&to.name));
        let remote = (!local).then(|| self.nodes[self.node_of(from)].name.clone());
        assert_eq!(event.source.node, remote, "where the sender is");
        assert_ne!(event.source.vnid, event.destination.vnid);
    }

    /// pod -> own gateway and own node's address, untranslated; pod -> the other node's, as its own node.
    fn pods_to_nodes(&self) {
        for pod in &self.pods {
            let own = self.node_of(pod);
            let (node, other) = (&self.nodes[own], &self.nodes[1 - own]);
            for ipv6 in FAMILIES {
                reaches(pod, node, self.gateway(own, ipv6), pod.ip(ipv6));
                reaches(pod, node, node.ip(ipv6), pod.ip(ipv6));
                reaches(pod, other, other.ip(ipv6), node.ip(ipv6));
            }
        }
    }

    fn gateway(&self, node: usize, ipv6: bool) -> IpAddr {
        self.cluster.gateway(&self.nodes[node].name, ipv6)
    }

    /// node -> pod of any project, its own as the gateway, also from its underlay address, and others' as the gateway.
    fn nodes_to_pods(&self) {
        for pod in &self.pods {
            for (index, node) in self.nodes.iter().enumerate() {
                for ipv6 in FAMILIES {
                    reaches(node, pod, pod.ip(ipv6), self.gateway(index, ipv6));
                    // From elsewhere the answer would be translated on its way out of the pod's node.
                    if self.node_of(pod) == index {
                        bound_to_node_address(node, pod, ipv6);
                    }
                }
            }
        }
    }

    /// pod -> external: the server sees the node.
    fn pods_to_external(&self) {
        for pod in &self.pods {
            let node = &self.nodes[self.node_of(pod)];
            for ipv6 in FAMILIES {
                reaches(pod, &self.web, self.web.ip(ipv6), node.ip(ipv6));
            }
        }
    }

    /// external -> pod with its source preserved; the answers pass the node as they are.
    fn external_to_pods(&self) {
        for ipv6 in FAMILIES {
            let own = self.web.ip(ipv6).to_string();
            let mut add = vec!["ip", "address", "add", &own, "dev", "lo"];
            if ipv6 {
                add.push("nodad"); // else it is no source for a moment, even on this device
            }
            self.cluster.run("web", &add).ok();
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let status = self.cluster.status().unwrap();
            for subnet in &status.nodes[index].subnets {
                let ipv6 = subnet.addr().is_ipv6();
                let (via, source) = (node.ip(ipv6).to_string(), self.web.ip(ipv6).to_string());
                let subnet = subnet.to_string();
                let route = ["ip", "route", "add", &subnet, "via", &via, "src", &source];
                self.cluster.run("web", &route).ok();
            }
        }
        for pod in &self.pods {
            for ipv6 in FAMILIES {
                reaches(&self.web, pod, pod.ip(ipv6), self.web.ip(ipv6));
            }
        }
    }

    fn beyond_pods(&self) {
        self.pods_to_nodes();
        self.nodes_to_pods();
        self.pods_to_external();
        self.external_to_pods();
    }
}

/// A process of the node that is bound to the underlay address.
fn bound_to_node_address(node: &Party, pod: &Party, ipv6: bool) {
    let at = SocketAddr::new(pod.ip(ipv6), PORT);
    let source = node.ip(ipv6);
    let outcome = udp(&node.netns, Some(source), at, SOON);
    assert_eq!(
        outcome,
        seen_as(source, pod),
        "UDP {node} {source} -> {pod}"
    );
}

fn seen_as(peer_seen: IpAddr, server: &Party) -> Outcome {
    Outcome::Reached {
        peer_seen,
        server: server.name.clone(),
    }
}

#[test]
fn in_multitenant_mode_projects_reach_themselves_and_global_ones() {
    let field = Field::new(Mode::Multitenant);
    field.pods_to_pods(|from, to| from == to || from == "default" || to == "default");
    field.beyond_pods();
    for node in ["node1", "node2"] {
        let judged = ["Isolated", "LinkLocal"];
        let drops = field.cluster.drops(node).reasons;
        let others = drops
            .iter()
            .find(|row| row.packets > 0 && !judged.contains(&&*row.reason));
        assert!(
            others.is_none(),
            "{node} dropped for another reason: {others:?}"
        );
    }
}

#[test]
fn in_subnet_mode_everybody_reaches_everybody() {
    let field = Field::new(Mode::Subnet);
    field.pods_to_pods(|_, _| true);
    field.beyond_pods();
    for node in ["node1", "node2"] {
        assert_eq!(field.cluster.count(node, "Isolated"), 0, "{node}");
    }
}

#[test]
fn an_address_nobody_has_is_named_as_such() {
    let field = Field::new(Mode::Multitenant);
    let from = field.pod("a/p1");
    for (to, reason) in [
        // In node1's own subnet, in node2's, in one that no node has.
        ("10.128.1.99", ("node1", "from_pod", "NoSuchPod")),
        ("10.129.1.99", ("node2", "from_overlay", "NoSuchPod")),
        ("10.131.0.9", ("node1", "from_pod", "NoSuchNode")),
        ("fd01::99", ("node1", "from_pod", "NoSuchPod")),
        ("fd01:0:0:1::99", ("node2", "from_overlay", "NoSuchPod")),
        ("fd01:0:0:9::9", ("node1", "from_pod", "NoSuchNode")),
        ("224.1.1.1", ("node1", "from_pod", "MulticastDisabled")),
    ] {
        let to: IpAddr = to.parse().unwrap();
        let before = field.cluster.count(reason.0, reason.2);
        let socket = udp_socket(&from.netns, None, (to, PORT).into());
        socket.send(b"?").unwrap();
        let port = socket.local_addr().unwrap().port();
        let event = field.cluster.dropped(reason.0, &to.to_string(), |drop| {
            drop.destination.ip == Some(to) && drop.source.port == port
        });
        assert_eq!((&*event.hook, &*event.reason), (reason.1, reason.2), "{to}");
        assert_eq!(field.cluster.count(reason.0, reason.2), before + 1, "{to}");
    }
}

#[test]
fn monitor_tells_each_drop_as_it_happens() {
    let field = Field::new(Mode::Multitenant);
    let mut monitor = field.cluster.weft(Some("node1")).unwrap();
    let mut monitor = monitor
        .args(["monitor", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let (from, to) = (field.pod("b/p1"), field.pod("a/p1"));
    let socket = udp_socket(&from.netns, None, (to.ip(false), PORT).into());
    // It tells what happens from its start on; when that is, only its first line shows.
    let told = AtomicBool::new(false);
    let first = thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the first line", || {
                socket.send(b"?").unwrap();
                told.load(Ordering::Relaxed)
            });
        });
        let first = lines.next().unwrap().unwrap();
        told.store(true, Ordering::Relaxed);
        first
    });
    let event: view::Drop = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&*event.reason, &*event.hook, &*event.protocol),
        ("Isolated", "from_pod", "UDP")
    );
    let sender = (event.source.pod.as_deref(), event.source.port);
    assert_eq!(sender, (Some("b/p1"), socket.local_addr().unwrap().port()));
    let receiver = (event.destination.pod.as_deref(), event.destination.port);
    assert_eq!(receiver, (Some("a/p1"), PORT));
    assert_eq!(
        (&event.source.projects[..], &event.destination.projects[..]),
        (&["b".to_owned()][..], &["a".to_owned()][..])
    );
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}
