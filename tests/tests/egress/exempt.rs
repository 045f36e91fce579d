//! What no egress policy ever judges, and what it does judge although it is near.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use serde_json::json;
use weft_lab::dns::{self, Relay};
use weft_lab::probe::{self, Lookup};
use weft_wait::SOON;

use crate::cluster::now;
use crate::field::{DENY_ALL, DNS, DNS6, Field, ip, look_up, outside};
use crate::party::{PORT, Party, reaches, udp_socket};
use crate::verdict::answers;

const WEB: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];

#[test]
fn pods_the_gateway_and_the_nodes_name_server_are_never_judged() {
    let field = Field::new(2);
    let cluster = &field.cluster;
    let pod = cluster.pod("a/p1", "node1");
    let parties = [("a/p2", "node1"), ("a/p3", "node2")];
    let friends = parties.map(|(label, node)| Party::of_pod(&cluster.pod(label, node)));
    let node = cluster.host_netns("node1").unwrap();
    let _server = probe::Server::start(&node, PORT, "node1").unwrap();
    let here = Party::of_pod(&pod);
    field.apply("a", "none", &[&DENY_ALL]);
    field.closes(&pod, outside(1));

    for (ipv6, upstream) in [(false, DNS), (true, DNS6)] {
        field.closes(&pod, ip(WEB[usize::from(ipv6)]));
        for friend in &friends {
            reaches(&here, friend, friend.ip(ipv6), here.ip(ipv6));
            reaches(friend, &here, here.ip(ipv6), friend.ip(ipv6));
        }
        field.open(&pod, cluster.gateway("node1", ipv6));
        // Port 53 of its own node, over both protocols; the node's other ports, and other nodes' port 53, are judged.
        let own = cluster.node_ip("node1", ipv6);
        let listen = SocketAddr::new(own, dns::PORT);
        let upstream = SocketAddr::new(ip(upstream), dns::PORT);
        let _relay = Relay::start(&node, listen, upstream).unwrap();
        field.set("www.foo.com", 1, &WEB.map(ip));
        for tcp in [false, true] {
            let lookup = Lookup {
                tcp,
                ..Lookup::at(own)
            };
            let answer = look_up(&pod, lookup, "www.foo.com", ipv6);
            assert_eq!(answer.addresses, [ip(WEB[usize::from(ipv6)])], "TCP {tcp}");
        }
        field.denied(&pod, own);
        let other = cluster.node_ip("node2", ipv6);
        field.dropped(&pod, (other, dns::PORT).into(), "EgressDenied");
    }
}

#[test]
fn services_of_pods_and_multicast_are_never_judged() {
    let field = Field::new(1);
    let cluster = &field.cluster;
    let pod = cluster.pod("a/p", "node1");
    let served = cluster.pod("a/served", "node1");
    let _server = probe::Server::start(&served.netns, PORT, "served").unwrap();
    // What kube-proxy does for a service of this pod. One that leads elsewhere is no way past the policy (e2e `translated`).
    for (service, to) in ["172.30.0.9", "fd02::9"].into_iter().zip(&served.ips) {
        let at = SocketAddr::new(ip(service), PORT);
        cluster.translate("node1", at, SocketAddr::new(*to, PORT));
    }
    field.apply("a", "none", &[&DENY_ALL]);
    field.closes(&pod, outside(1));
    for (ipv6, service) in [(false, "172.30.0.9"), (true, "fd02::9")] {
        field.open(&pod, ip(service));
        field.denied(&pod, cluster.node_ip("node1", ipv6));
    }
    // Multicast has rules of its own.
    for group in ["239.1.1.1", "ff0e::1"] {
        let since = now();
        let to = SocketAddr::new(ip(group), PORT);
        udp_socket(&pod.netns, None, to).send(b"?").unwrap();
        let event = field.event(&pod, to, "UDP", since).unwrap();
        assert_eq!(event.reason, "MulticastDisabled");
    }
}

#[test]
fn answers_to_what_came_from_outside_are_not_judged() {
    let field = Field::new(1);
    let cluster = &field.cluster;
    let pod = cluster.pod("a/p", "node1");
    let _server = probe::Server::start(&pod.netns, PORT, "p").unwrap();
    let web = cluster.host_netns("web").unwrap();
    field.apply("a", "none", &[&DENY_ALL]);
    field.closes(&pod, outside(1));
    let state = cluster.state().unwrap();
    let external = state.externals.iter().find(|it| it.name == "web").unwrap();
    for (ipv6, web_ip) in external.underlay.into_iter().enumerate() {
        let address = pod.ips[ipv6];
        let via = cluster.node_ip("node1", ipv6 == 1).to_string();
        let family = if ipv6 == 1 { "-6" } else { "-4" };
        let route = [
            "ip",
            family,
            "route",
            "add",
            &address.to_string(),
            "via",
            &via,
        ];
        cluster.run("web", &route).ok();
        field.denied(&pod, web_ip);
        assert!(
            answers(&web, (address, PORT).into()),
            "{web_ip} -> {address}"
        );
        // Also over UDP: the first packet came from outside, so the answer goes out, and nothing else does.
        answered_over_udp(&field, &pod, web_ip, address);
        field.denied(&pod, web_ip);
        // The node itself, from an address that pods may not reach: kubelet's probes.
        let node = cluster.host_netns("node1").unwrap();
        assert!(answers(&node, (address, PORT).into()), "node -> {address}");
    }
}

/// A process of another node that is bound to the node's own address: it asks over the overlay, and is answered past it.
#[test]
fn answers_to_another_nodes_own_address_are_not_judged() {
    let field = Field::new(2);
    let cluster = &field.cluster;
    let pod = cluster.pod("a/p", "node1");
    let party = Party::of_pod(&pod);
    let source = cluster.node_ip("node2", false);
    let node = cluster.host_netns("node2").unwrap();
    field.apply("a", "none", &[&DENY_ALL]);
    field.closes(&pod, outside(1));
    let socket = node.run(|| UdpSocket::bind((source, 0))).unwrap().unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.send_to(b"?", (party.ip(false), PORT)).unwrap();
    let mut buffer = [0; 64];
    // Under the address of the pod's node, which translates what it did not see coming.
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let line = String::from_utf8_lossy(&buffer[..length]);
    assert_eq!(line, format!("a/p {source}"), "from {from}");
    assert_eq!(from.ip(), cluster.node_ip("node1", false));
    // Nothing else of that node is open.
    field.dropped(&pod, (source, PORT).into(), "EgressDenied");
}

fn answered_over_udp(field: &Field, pod: &crate::cluster::Pod, web_ip: IpAddr, address: IpAddr) {
    let web = field.cluster.host_netns("web").unwrap();
    let inside = pod
        .netns
        .run(|| UdpSocket::bind((address, 0)))
        .unwrap()
        .unwrap();
    let outside = web.run(|| UdpSocket::bind((web_ip, 0))).unwrap().unwrap();
    for socket in [&inside, &outside] {
        socket.set_read_timeout(Some(SOON)).unwrap();
    }
    let mut buffer = [0; 8];
    outside
        .send_to(b"question", inside.local_addr().unwrap())
        .unwrap();
    let (_, from) = inside.recv_from(&mut buffer).unwrap();
    assert_eq!(from, outside.local_addr().unwrap());
    inside.send_to(b"answer", from).unwrap();
    let (length, from) = outside.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    assert_eq!(from, inside.local_addr().unwrap());

    // Towards another port of the same host nobody asked.
    let since = now();
    let to = SocketAddr::new(web_ip, PORT);
    inside.send_to(b"more", to).unwrap();
    let event = field.event(pod, to, "UDP", since).unwrap();
    assert_eq!(event.reason, "EgressDenied", "{}", json!(event));
}
