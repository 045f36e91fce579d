//! ICMP errors of pods: those about what was sent to them arrive, and no other changes the routes of whoever gets it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use weft_lab::probe::{self, Server};
use weft_netns::NetNs;
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, Pod, two_nodes};
use crate::frame::{Mac, checksum, framed, packet, pseudo};
use crate::wire::{Injector, mac};

/// The path MTU that the attacker would like others to have.
const LOW: u32 = 600;
/// Lower is no path of IPv6 (RFC 8200 section 5).
const LOW_V6: u32 = 1280;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A whole frame with an ICMP error in it, of a type and a code and with a value in its header. It quotes an echo reply, which kernels
/// send without a socket, so that they believe errors about it.
fn icmp_error(
    macs: (Mac, Mac),
    (source, target): (IpAddr, IpAddr),
    (kind, code, value): (u8, u8, u32),
    quoted: (IpAddr, IpAddr),
) -> Vec<u8> {
    let (protocol, reply) = if source.is_ipv4() {
        (ICMP, 0)
    } else {
        (ICMPV6, 129)
    };
    let packet = packet(quoted.0, quoted.1, protocol, &[reply, 0, 0, 0, 0, 1, 0, 1]);
    let mut message = [&[kind, code, 0, 0][..], &value.to_be_bytes(), &packet].concat();
    let sum = if source.is_ipv4() {
        checksum(&[&message])
    } else {
        checksum(&[&pseudo(source, target, protocol, message.len()), &message])
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    framed(macs, source, target, protocol, &message)
}

struct Field {
    cluster: Cluster,
    attacker: Pod,
    gateway_mac: Mac,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let attacker = cluster.pod("a/attacker", "node1");
        let pods = cluster.pods("node1");
        let row = pods.iter().find(|pod| pod.name == attacker.name).unwrap();
        let gateway_mac = mac(&cluster.host_netns("node1").unwrap(), &row.interface);
        Self {
            cluster,
            attacker,
            gateway_mac,
        }
    }

    fn node(&self, name: &str) -> NetNs {
        self.cluster.host_netns(name).unwrap()
    }

    /// Whether the route from a host to an address has the low MTU.
    fn is_poisoned(&self, host: &str, to: IpAddr) -> bool {
        let route = ["ip", "route", "get", &to.to_string()];
        let said = self.cluster.run(host, &route).ok();
        said.contains(&format!("mtu {}", low(to)))
    }
}

fn low(of: IpAddr) -> u32 {
    if of.is_ipv4() { LOW } else { LOW_V6 }
}

/// Fragmentation needed (RFC 1191), packet too big (RFC 4443).
fn too_big(of: IpAddr) -> (u8, u8, u32) {
    if of.is_ipv4() {
        (3, 4, LOW)
    } else {
        (2, 0, LOW_V6)
    }
}

#[test]
fn a_pod_cannot_change_the_routes_of_others() {
    let field = Field::new();
    let cluster = &field.cluster;
    let friend = cluster.pod("a/friend", "node1");
    let out = Injector::open(&field.attacker.netns, "eth0");
    let mut sent = 0;
    for ipv6 in [false, true] {
        let mine = field.attacker.ips[usize::from(ipv6)];
        let [node1, node2] = ["node1", "node2"].map(|node| cluster.node_ip(node, ipv6));
        let [near, far] = ["node1", "node2"].map(|node| cluster.gateway(node, ipv6));
        for (to, host, quoted) in [
            (near, "node1", (node1, node2)),
            (node1, "node1", (node1, node2)),
            (far, "node2", (node2, node1)),
            (near, "node1", (near, friend.ips[usize::from(ipv6)])),
        ] {
            let before = cluster.count("node1", "ForgedIcmpError");
            let macs = (out.mac, field.gateway_mac);
            out.send(&icmp_error(macs, (mine, to), too_big(to), quoted));
            sent += 1;
            eventually("the error is dropped", || {
                cluster.count("node1", "ForgedIcmpError") == before + 1
            });
            let victim = quoted.1;
            assert!(
                !field.is_poisoned(host, victim),
                "{host} to {victim}, by {to}"
            );
        }
    }
    let event = cluster.dropped("node1", "a forged error", |drop| {
        drop.reason == "ForgedIcmpError"
    });
    assert_eq!(event.hook, "from_pod");
    let label = field.attacker.label();
    assert_eq!(cluster.pod_count("node1", &label, "ForgedIcmpError"), sent);

    // Whoever stands outside can do that: the kernel does act on such an error.
    let web = Injector::open(&field.node("web"), "eth0");
    let node1 = cluster.node_ip("node1", false);
    let node2 = cluster.node_ip("node2", false);
    let router = mac(&field.node("node1"), "eth0");
    let stranger: IpAddr = "192.168.50.101".parse().unwrap();
    let error = icmp_error(
        (web.mac, router),
        (stranger, node1),
        too_big(node1),
        (node1, node2),
    );
    web.send(&error);
    eventually("the control changes the route", || {
        field.is_poisoned("node1", node2)
    });
}

/// What the far end says of an error about the datagram: nobody listens at the port.
fn refused(from: &NetNs, to: SocketAddr) -> bool {
    let ask = || {
        let any: SocketAddr = if to.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(SOON))?;
        socket.send(b"weft")?;
        socket.recv(&mut [0; 8])
    };
    let answer = from.run(ask).unwrap();
    matches!(answer, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn errors_about_what_a_pod_was_sent_arrive() {
    let field = Field::new();
    let cluster = &field.cluster;
    let friend = cluster.pod("a/friend", "node1");
    let remote = cluster.pod("a/remote", "node2");
    for ipv6 in [0, 1] {
        let closed = SocketAddr::new(field.attacker.ips[ipv6], 9);
        for (who, netns) in [
            ("a pod of the node", &friend.netns),
            ("a pod of another node", &remote.netns),
            ("the node", &field.node("node1")),
            ("another node", &field.node("node2")),
        ] {
            assert!(
                refused(netns, closed),
                "{who} is told that {closed} is closed"
            );
        }
    }
    assert_eq!(cluster.count("node1", "ForgedIcmpError"), 0);
}

/// A path behind the pod's interface is narrower than the interface: the sender has to be told.
#[test]
fn a_pod_lowers_the_path_to_itself() {
    let field = Field::new();
    let cluster = &field.cluster;
    let remote = cluster.pod("a/remote", "node2");
    let out = Injector::open(&field.attacker.netns, "eth0");
    let mine = field.attacker.ips[0];
    let _server = Server::start(&field.attacker.netns, 7000, "attacker").unwrap();
    let asked = probe::tcp(&remote.netns, (mine, 7000).into(), Duration::from_secs(2)).unwrap();
    assert!(asked.reached_from(remote.ips[0]), "{asked:?}");
    let quoted = (remote.ips[0], mine);
    let macs = (out.mac, field.gateway_mac);
    out.send(&icmp_error(
        macs,
        (mine, remote.ips[0]),
        too_big(mine),
        quoted,
    ));
    eventually("the other pod's path to this one is lower", || {
        let route = ["ip", "route", "get", &mine.to_string()].map(str::to_owned);
        let said = remote
            .netns
            .run(|| {
                std::process::Command::new(&route[0])
                    .args(&route[1..])
                    .output()
            })
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&said.stdout).contains(&format!("mtu {LOW}"))
    });
}
