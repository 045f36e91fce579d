//! Senders that the node's address hides: a service proxy that translates sources as well (kube-proxy's masqueradeAll, and its
//! ports of nodes) keeps projects apart all the same.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_lab::probe::{self, Outcome};
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, now, two_nodes};
use crate::party::{PORT, Party, reaches, udp, udp_socket};
use crate::wire::Sniffer;

/// How long a connection that must not get through is tried.
const GLANCE: Duration = Duration::from_millis(100);
const SERVICES: [&str; 2] = ["172.30.0.10", "fd02::10"];
const OUTSIDE: [&str; 2] = ["203.0.113.7", "2001:db8::7"];
/// Ports of the service, and of the nodes: of a pod of the same project, and of another project, on each node.
const OWN: [u16; 2] = [8001, 8002];
const FOREIGN: [u16; 2] = [8003, 8004];

struct Field {
    cluster: Cluster,
    /// On node1.
    client: Party,
    /// On node1 and node2, of its project.
    own: [Party; 2],
    /// The same of another project.
    foreign: [Party; 2],
    web: Party,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let pod = |name, node| Party::of_pod(&cluster.pod(name, node));
        let outside = OUTSIDE.map(|ip| ip.parse().unwrap());
        let field = Self {
            client: pod("a/client", "node1"),
            own: [pod("a/near", "node1"), pod("a/far", "node2")],
            foreign: [pod("b/near", "node1"), pod("b/far", "node2")],
            web: Party::of_host(&cluster, "web", outside.to_vec()),
            cluster,
        };
        // A host answers a peer with one refusal a second, which is not what is looked at here.
        for limit in ["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"] {
            field.cluster.run("node2", &["sysctl", "-wq", limit]).ok();
        }
        for ipv6 in [false, true] {
            for node in ["node1", "node2"] {
                for at in field.addresses(node, ipv6) {
                    for index in 0..2 {
                        for (port, to) in [
                            (OWN[index], &field.own[index]),
                            (FOREIGN[index], &field.foreign[index]),
                        ] {
                            let to = SocketAddr::new(to.ip(ipv6), PORT);
                            field.cluster.translate(node, (at, port).into(), to);
                        }
                    }
                }
                field.cluster.hide_senders(node, ipv6);
            }
        }
        field
    }

    /// Where its proxy listens: the service, the node's own address, the gateway of its pods.
    fn addresses(&self, node: &str, ipv6: bool) -> [IpAddr; 3] {
        [
            SERVICES[usize::from(ipv6)].parse().unwrap(),
            self.cluster.node_ip(node, ipv6),
            self.cluster.gateway(node, ipv6),
        ]
    }

    /// The kernel puts fragments together, translates them, and makes new ones, of which it forgets most of what it knew.
    fn in_fragments(&self, ipv6: bool) {
        let marker: [u8; 16] = rand::random();
        let service = self.addresses("node1", ipv6)[0];
        let send = |port| {
            let at = SocketAddr::new(service, port);
            let socket = udp_socket(&self.client.netns, None, at);
            socket.send(&marker.repeat(200)).unwrap();
        };
        for (index, node) in ["node1", "node2"].into_iter().enumerate() {
            let sniffer = Sniffer::open(&self.own[index].netns);
            send(OWN[index]);
            eventually("its own project gets fragments", || {
                sniffer.saw(&marker) > 1
            });

            let foreign = &self.foreign[index];
            let sniffer = Sniffer::open(&foreign.netns);
            // The kernel sends no more fragments of a packet once one was dropped.
            let dropped = || self.cluster.count(node, "Isolated");
            let before = dropped();
            send(FOREIGN[index]);
            let mut arrived = 0;
            let what = format!("fragments to {foreign}, IPv6 {ipv6}: dropped, or there");
            eventually(&what, || {
                arrived += sniffer.saw(&marker);
                arrived > 0 || dropped() > before
            });
            assert_eq!(arrived, 0, "fragments in {foreign}");
            assert_eq!(sniffer.saw(&marker), 0, "fragments in {foreign}");
        }
    }
}

/// Both TCP and UDP get this far.
#[track_caller]
fn meets(from: &Party, at: (IpAddr, u16), is: impl Fn(&Outcome) -> bool, patience: Duration) {
    let at = SocketAddr::from(at);
    for (protocol, outcome) in [
        ("TCP", probe::tcp(&from.netns, at, patience).unwrap()),
        ("UDP", udp(&from.netns, None, at, patience)),
    ] {
        assert!(is(&outcome), "{protocol} {from} -> {at}: {outcome:?}");
    }
}

fn reached(server: &Party) -> impl Fn(&Outcome) -> bool {
    move |outcome| matches!(outcome, Outcome::Reached { server: name, .. } if *name == server.name)
}

#[test]
fn a_translated_source_opens_no_other_project() {
    let field = Field::new();
    let (cluster, client) = (&field.cluster, &field.client);
    let silent = |outcome: &Outcome| *outcome == Outcome::Silent;
    for ipv6 in [false, true] {
        for at in field.addresses("node1", ipv6) {
            for (index, node) in ["node1", "node2"].into_iter().enumerate() {
                meets(client, (at, OWN[index]), reached(&field.own[index]), SOON);

                let since = now();
                meets(client, (at, FOREIGN[index]), silent, GLANCE);
                let what = format!("{client} -> {at} -> {}", field.foreign[index]);
                let event = cluster.dropped(node, &what, |drop| {
                    let to = drop.destination.ip == Some(field.foreign[index].ip(ipv6));
                    to && drop.reason == "Isolated" && drop.time >= since
                });
                assert_eq!(event.source.projects, ["a"], "{what}");
                assert_ne!(
                    event.source.ip,
                    Some(client.ip(ipv6)),
                    "{what}: it is hidden"
                );
            }
        }
        field.in_fragments(ipv6);
        // Of what comes through the overlay nobody could tell the project: no port of a node for it.
        let gateway = cluster.gateway("node2", ipv6);
        for port in [OWN, FOREIGN].concat() {
            let refused = |outcome: &Outcome| *outcome == Outcome::Refused;
            meets(client, (gateway, port), refused, SOON);
        }
        // The node and the outside belong to no project.
        let node = cluster.node_ip("node1", ipv6);
        for (to, port) in field.foreign.iter().zip(FOREIGN) {
            meets(&field.web, (node, port), reached(to), SOON);
        }
        let inside = Party::of_host(cluster, "node1", vec![node]);
        let gateway = cluster.gateway("node1", ipv6);
        reaches(
            &inside,
            &field.foreign[0],
            field.foreign[0].ip(ipv6),
            gateway,
        );
    }
    // Joined, they meet.
    cluster
        .ask("node1", &["pod-network", "join-projects", "--to=a", "b"])
        .ok();
    let service = SERVICES[0].parse().unwrap();
    for (to, port) in field.foreign.iter().zip(FOREIGN) {
        let joined = || {
            let at = SocketAddr::new(service, port);
            reached(to)(&probe::tcp(&client.netns, at, GLANCE).unwrap())
        };
        eventually("they are joined", joined);
    }
}
