//! Translations to the overlay's port.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use weft_netns::NetNs;
use weft_wait::{SOON, eventually};

use super::{Field, OUTSIDE, ip};
use crate::frame;
use crate::party::PORT;
use crate::wire::{Sniffer, mac};

const VXLAN: u16 = 4789;

#[test]
fn no_translation_forges_the_overlay() {
    let field = Field::new();
    let cluster = &field.cluster;
    let marker: [u8; 16] = rand::random();
    let projects = cluster.projects("node1");
    let other = projects.iter().find(|project| project.name == "a").unwrap();
    let there = cluster.projects("node2");
    let vnid = there
        .iter()
        .find(|project| project.name == "b")
        .unwrap()
        .vnid;
    assert_ne!(vnid, other.vnid);
    let macs = (
        [0x0a, 0x58, 9, 9, 9, 9],
        mac(&field.netns("node2"), "weft0"),
    );
    let at = |ip: IpAddr| SocketAddr::new(ip, PORT);
    let inner = frame::udp(
        macs,
        at(field.pod.ip(false)),
        at(field.target.ips[0]),
        &marker,
    );
    let forged = frame::vxlan(vnid, &inner);
    let sniffer = Sniffer::open(&field.target.netns);
    let send = |from: &NetNs, to: SocketAddr| {
        let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = from.run(|| UdpSocket::bind(any)).unwrap().unwrap();
        socket.send_to(&forged, to).unwrap();
    };
    let overlay = |node, ipv6| SocketAddr::new(cluster.node_ip(node, ipv6), VXLAN);
    send(&field.netns("node1"), overlay("node2", false));
    eventually("what node1 itself sends arrives", || {
        sniffer.saw(&marker) > 0
    });

    let service =
        |ipv6: bool| SocketAddr::new(ip(["172.30.0.10", "fd02::10"][usize::from(ipv6)]), 1234);
    let port = |node: &str| SocketAddr::new(cluster.node_ip(node, false), 30_123);
    // Services with endpoints written by hand, as kube-proxy translates them.
    for ipv6 in [false, true] {
        field
            .cluster
            .translate("node1", service(ipv6), overlay("node2", ipv6));
    }
    for node in ["node1", "node2"] {
        field
            .cluster
            .translate(node, port(node), overlay("node2", false));
    }
    field.cluster.tables(
        "node1",
        false,
        "-t nat -A POSTROUTING -o eth0 -j MASQUERADE",
    );
    let leaving = ("node1", "mangle", "OPENSHIFT-BLOCK-POSTROUTING");
    let arriving = ("node2", "filter", "OPENSHIFT-FIREWALL-ALLOW");
    for (what, from, to, (node, table, chain)) in [
        ("a service", &field.pod, service(false), leaving),
        ("a service, IPv6", &field.pod, service(true), leaving),
        ("a port of the own node", &field.pod, port("node1"), leaving),
        // It comes with the address of the pod's node, and is the other node's overlay port only then.
        (
            "a port of the other node",
            &field.pod,
            port("node2"),
            arriving,
        ),
        (
            "a port of a node, from outside",
            &field.web,
            port("node1"),
            leaving,
        ),
    ] {
        let dropped = || field.dropped(node, to.is_ipv6(), table, chain);
        let before = dropped();
        send(&from.netns, to);
        let mut arrived = 0;
        eventually(&format!("{what}: dropped"), || {
            arrived += sniffer.saw(&marker);
            arrived > 0 || dropped() > before
        });
        assert_eq!(
            arrived + sniffer.saw(&marker),
            0,
            "{what}: in the pod of another project"
        );
    }
    // What answers a pod that has that port itself is no packet of the overlay. (Over IPv4, where the overlay is, it is.)
    let client = || UdpSocket::bind((field.pod.ip(true), VXLAN));
    let client = field.pod.netns.run(client).unwrap().unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.send_to(b"?", at(ip(OUTSIDE[1]))).unwrap();
    client.recv_from(&mut [0; 64]).unwrap();
}
