//! Translations to the node's loopback, and from the node's name server to the outside.

use std::net::SocketAddr;

use weft_lab::probe::{self, Outcome};
use weft_wait::{SOON, eventually};

use super::{Field, GLANCE, OUTSIDE, ip, meets};
use crate::frame;
use crate::party::{PORT, Party, reaches};
use crate::wire::{Injector, mac};

#[test]
fn the_nodes_loopback_is_the_nodes() {
    let field = Field::new();
    let node = field.netns("node1");
    let inside = field.node1(vec![ip("127.0.0.1"), ip("::1")]);
    field
        .cluster
        .run(
            "node1",
            &["sysctl", "-wq", "net.ipv4.conf.all.route_localnet=1"],
        )
        .ok();
    let out = Injector::open(&field.pod.netns, "eth0");
    let rows = field.cluster.pods("node1");
    let row = rows.iter().find(|row| row.name == "p1").unwrap();
    let macs = (out.mac, mac(&node, &row.interface));
    for (index, loopback) in inside.ips.iter().enumerate() {
        let ipv6 = index == 1;
        reaches(&inside, &inside, *loopback, *loopback);

        let sender = SocketAddr::new(field.pod.ip(ipv6), 4000);
        let direct = SocketAddr::new(*loopback, PORT);
        let before = field.cluster.count("node1", "Loopback");
        out.send(&frame::udp(macs, sender, direct, b"?"));
        eventually("dropped, or heard", || {
            inside.heard(sender) || field.cluster.count("node1", "Loopback") > before
        });
        assert!(!inside.heard(sender), "{loopback}, directly");
        let event = field.cluster.dropped("node1", "the datagram", |drop| {
            drop.reason == "Loopback" && drop.destination.ip == Some(*loopback)
        });
        assert_eq!(event.source.pod.as_deref(), Some("a/p1"));

        let service = SocketAddr::new(ip(["172.30.0.10", "fd02::10"][index]), 80);
        field.cluster.translate("node1", service, direct);
        if ipv6 {
            // This kernel has no route to it for what comes from elsewhere, and tells so; the rule stands for others.
            let asked = probe::tcp(&field.pod.netns, service, GLANCE).unwrap();
            assert!(!matches!(asked, Outcome::Reached { .. }), "{asked:?}");
            continue;
        }
        meets(&field.pod, service, &Outcome::Silent, GLANCE);
        let dropped = field.dropped("node1", ipv6, "filter", "OPENSHIFT-FIREWALL-ALLOW");
        assert!(dropped >= 2, "{loopback}: {dropped} packets");
    }
}

#[test]
fn the_nodes_name_server_is_no_way_out() {
    let field = Field::new();
    for (index, outside) in OUTSIDE.into_iter().enumerate() {
        let ipv6 = index == 1;
        let pod = |party: &Party| SocketAddr::new(party.ip(ipv6), PORT);
        let away = SocketAddr::new(ip(outside), PORT);
        let node = field.cluster.node_ip("node1", ipv6);
        for server in [node, field.cluster.gateway("node1", ipv6)] {
            let server = SocketAddr::new(server, 53);
            let from = format!("-s {}", field.pod.ip(ipv6));
            field.cluster.translate_from("node1", &from, server, away);
            field.cluster.translate("node1", server, pod(&field.pod));
            let dropped = || field.dropped("node1", ipv6, "filter", "OPENSHIFT-FIREWALL-DNAT");
            meets(&field.pod, server, &Outcome::Silent, GLANCE);
            assert!(dropped() >= 2, "{} packets", dropped());
            // A name server in a pod, on a port of the node: for pods and for whoever is outside.
            let reached = Outcome::Reached {
                peer_seen: field.near.ip(ipv6),
                server: field.pod.name.clone(),
            };
            meets(&field.near, server, &reached, SOON);
        }
        let reached = probe::tcp(&field.web.netns, (node, 53).into(), SOON).unwrap();
        assert!(matches!(reached, Outcome::Reached { .. }), "{reached:?}");
        // Other ports are the egress firewall's, which lets this project out.
        let other = SocketAddr::new(node, 5353);
        field.cluster.translate("node1", other, away);
        let reached = Outcome::Reached {
            peer_seen: node,
            server: field.web.name.clone(),
        };
        meets(&field.pod, other, &reached, SOON);
    }
}
