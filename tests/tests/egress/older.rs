//! Connections that were open before their project had a policy.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use weft_netns::NetNs;
use weft_wait::SOON;

use crate::cluster::{Pod, now};
use crate::connection::Connection;
use crate::field::{DENY_ALL, Field, ip, outside};

const WEB: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];

/// A UDP socket in each of two places.
struct Exchange {
    near: UdpSocket,
    far: UdpSocket,
}

impl Exchange {
    fn new(pod: &Pod, web: &NetNs, near: IpAddr, far: IpAddr) -> Self {
        let bind = |place: &NetNs, address| {
            let socket = place
                .run(|| UdpSocket::bind((address, 0)))
                .unwrap()
                .unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket
        };
        Self {
            near: bind(&pod.netns, near),
            far: bind(web, far),
        }
    }
}

/// Sends a byte, and tells from where it came.
fn pass(from: &UdpSocket, to: &UdpSocket, address: SocketAddr) -> SocketAddr {
    from.send_to(b"!", address).unwrap();
    to.recv_from(&mut [0]).unwrap().1
}

#[test]
fn what_was_opened_from_outside_goes_on_and_what_the_pod_opened_ends() {
    let field = Field::new(1);
    let cluster = &field.cluster;
    let pod = cluster.pod("a/p", "node1");
    let web = cluster.host_netns("web").unwrap();
    let state = cluster.state().unwrap();
    let external = state.externals.iter().find(|it| it.name == "web").unwrap();
    let mut into = Vec::new();
    let mut asked = Vec::new();
    let mut told = Vec::new();
    for (ipv6, web_ip) in external.underlay.into_iter().enumerate() {
        let address = pod.ips[ipv6];
        let via = cluster.node_ip("node1", ipv6 == 1).to_string();
        let family = if ipv6 == 1 { "-6" } else { "-4" };
        let to = address.to_string();
        let route = ["ip", family, "route", "add", &to, "via", &via];
        cluster.run("web", &route).ok();
        into.push(Connection::open(&web, &pod.netns, address));
        // Asked from outside.
        let exchange = Exchange::new(&pod, &web, address, web_ip);
        let near = exchange.near.local_addr().unwrap();
        pass(&exchange.far, &exchange.near, near);
        asked.push(exchange);
        // The pod asks, and is answered through the translation of its address.
        let exchange = Exchange::new(&pod, &web, address, ip(WEB[ipv6]));
        let far = exchange.far.local_addr().unwrap();
        let seen = pass(&exchange.near, &exchange.far, far);
        pass(&exchange.far, &exchange.near, seen);
        told.push((exchange, seen));
    }
    let mut out = Connection::open(&pod.netns, &web, ip(WEB[0]));
    assert!(out.works(SOON));
    assert!(into.iter_mut().all(|it| it.works(SOON)));

    field.apply("a", "none", &[&DENY_ALL]);
    field.closes(&pod, outside(1));
    assert!(!out.works(Duration::from_millis(300)), "the pod opened it");
    for connection in &mut into {
        assert!(connection.works(SOON), "it came from outside");
    }
    for Exchange { near, far } in &asked {
        let seen = pass(near, far, far.local_addr().unwrap());
        assert_eq!(seen, near.local_addr().unwrap(), "an answer");
    }
    for (Exchange { near, far }, seen) in &told {
        // What the outside still sends is an answer, and opens nothing.
        pass(far, near, *seen);
        let to = far.local_addr().unwrap();
        let since = now();
        near.send_to(b"!", to).unwrap();
        let event = field.event(&pod, to, "UDP", since).unwrap();
        assert_eq!(event.reason, "EgressDenied", "{to}");
    }
}

/// A large datagram that answers the outside goes out, all of its fragments.
#[test]
fn large_answers_are_whole() {
    let field = Field::new(1);
    let cluster = &field.cluster;
    let pod = cluster.pod("a/p", "node1");
    let web = cluster.host_netns("web").unwrap();
    field.apply("a", "none", &[&DENY_ALL]);
    field.closes(&pod, outside(1));
    let state = cluster.state().unwrap();
    let external = state.externals.iter().find(|it| it.name == "web").unwrap();
    for (ipv6, web_ip) in external.underlay.into_iter().enumerate() {
        let address = pod.ips[ipv6];
        let via = cluster.node_ip("node1", ipv6 == 1).to_string();
        let family = if ipv6 == 1 { "-6" } else { "-4" };
        let to = address.to_string();
        let route = ["ip", family, "route", "add", &to, "via", &via];
        cluster.run("web", &route).ok();
        let Exchange { near, far } = Exchange::new(&pod, &web, address, web_ip);
        let asker = pass(&far, &near, near.local_addr().unwrap());
        let answer: Vec<u8> = (0..8000_u32).map(|n| n.to_le_bytes()[0]).collect();
        near.send_to(&answer, asker).unwrap();
        let mut got = vec![0; 10_000];
        let (length, from) = far.recv_from(&mut got).unwrap();
        assert_eq!(
            (&got[..length], from),
            (&answer[..], near.local_addr().unwrap())
        );
        // The same from a port that nobody asked stays here, with all of its fragments.
        let since = now();
        let other = Exchange::new(&pod, &web, address, web_ip);
        other.near.send_to(&answer, asker).unwrap();
        let event = field.event(&pod, asker, "UDP", since).unwrap();
        assert_eq!(event.reason, "EgressDenied");
    }
}
