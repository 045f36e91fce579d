//! What pretends to be something else is dropped with the reason, and nobody ever gets it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use weft_wait::eventually;

use crate::cluster::{Cluster, Pod, line, two_nodes};
use crate::frame::{Mac, arp, ethernet, udp, vxlan};
use crate::wire::{Injector, Sniffer, mac};

/// IANA's VXLAN port, which the lab uses.
const VXLAN: u16 = 4789;

struct Field {
    cluster: Cluster,
    /// On node1.
    attacker: Pod,
    /// On node1, of the same project: nothing but the forgery keeps packets away from it.
    friend: Pod,
    /// On node2, of the same project.
    remote: Pod,
    marker: [u8; 16],
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        Self {
            attacker: cluster.pod("a/attacker", "node1"),
            friend: cluster.pod("a/friend", "node1"),
            remote: cluster.pod("a/remote", "node2"),
            cluster,
            marker: rand::random(),
        }
    }

    /// Everybody who must not get it, except the sender: a sniffer sees what leaves, too.
    fn sniffers(&self, sender: &str) -> Vec<(String, Sniffer)> {
        let pods = [&self.friend, &self.remote].map(|pod| (pod.label(), Sniffer::open(&pod.netns)));
        let web = self.cluster.host_netns("web").unwrap();
        let web = (sender != "web").then(|| ("web".into(), Sniffer::open(&web)));
        pods.into_iter().chain(web).collect()
    }

    fn vnid(&self) -> u32 {
        let projects = self.cluster.projects("node1");
        projects
            .iter()
            .find(|project| project.name == "a")
            .unwrap()
            .vnid
    }

    /// Sends with `send`; exactly one packet is counted for `reason` on node1, and no bystander sees it.
    fn dropped(&self, what: &str, reason: &str, send: impl FnOnce()) {
        self.dropped_from("pod", what, reason, send);
    }

    fn dropped_from(&self, sender: &str, what: &str, reason: &str, send: impl FnOnce()) {
        let watch = self.sniffers(sender);
        let before = self.cluster.count("node1", reason);
        send();
        eventually(&format!("{what}: counted as {reason}"), || {
            self.cluster.count("node1", reason) > before
        });
        for (name, sniffer) in watch {
            assert_eq!(sniffer.saw(&self.marker), 0, "{what}: {name} saw it");
        }
        assert_eq!(self.cluster.count("node1", reason), before + 1, "{what}");
    }
}

fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 7000)
}

/// The same digits in another place.
fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_pod_cannot_send_as_somebody_else() {
    let field = Field::new();
    let out = Injector::open(&field.attacker.netns, "eth0");
    let host = mac_of_gateway(&field);
    let own = (out.mac, host);
    let other = ([0x0a, 0x58, 1, 2, 3, 4], host);
    let marker = field.marker;
    let attacker = field.attacker.label();

    // Well-formed: what is dropped below is dropped for what differs from this.
    for (index, target) in [&field.friend, &field.remote].into_iter().enumerate() {
        for ipv6 in [0, 1] {
            let sniffer = Sniffer::open(&target.netns);
            out.send(&udp(
                own,
                at(field.attacker.ips[ipv6]),
                at(target.ips[ipv6]),
                &marker,
            ));
            eventually(&format!("control {index} {ipv6}"), || {
                sniffer.saw(&marker) > 0
            });
        }
    }

    for ipv6 in [0, 1] {
        let mine = at(field.attacker.ips[ipv6]);
        let targets = [
            at(field.friend.ips[ipv6]),
            at(field.remote.ips[ipv6]),
            at(ip(["203.0.113.7", "2001:db8::7"][ipv6])),
        ];
        let foreign = [
            ("another pod's address", field.friend.ips[ipv6]),
            ("a remote pod's address", field.remote.ips[ipv6]),
            (
                "the gateway's address",
                field.cluster.gateway("node1", ipv6 == 1),
            ),
            (
                "its node's address",
                field.cluster.node_ip("node1", ipv6 == 1),
            ),
            (
                "an external address",
                ip(["198.51.100.9", "2001:db8::9"][ipv6]),
            ),
        ];
        for target in targets {
            field.dropped("a spoofed MAC address", "SpoofedMac", || {
                out.send(&udp(other, mine, target, &marker));
            });
            for (what, source) in foreign {
                field.dropped(what, "SpoofedAddress", || {
                    out.send(&udp(own, at(source), target, &marker));
                });
                let event = field.cluster.dropped("node1", what, |drop| {
                    drop.reason == "SpoofedAddress" && drop.source.ip == Some(source)
                });
                assert_eq!(event.hook, "from_pod", "{}", line(&event));
            }
            field.dropped("a forged overlay packet", "ForgedOverlay", || {
                let target = SocketAddr::new(target.ip(), VXLAN);
                out.send(&udp(own, mine, target, &marker));
            });
        }
    }
    let drops = field.cluster.drops("node1");
    for (reason, packets) in [
        ("SpoofedMac", 6),
        ("SpoofedAddress", 30),
        ("ForgedOverlay", 6),
    ] {
        let mut rows = drops.pods.iter();
        let row = rows.find(|row| row.pod == attacker && row.reason == reason);
        assert_eq!(
            row.map(|row| row.packets),
            Some(packets),
            "{reason}: charged to the pod"
        );
    }
}

/// What the pod was told to send to.
fn mac_of_gateway(field: &Field) -> Mac {
    let pods = field.cluster.pods("node1");
    let row = pods
        .iter()
        .find(|pod| pod.name == field.attacker.name)
        .unwrap();
    mac(&field.cluster.host_netns("node1").unwrap(), &row.interface)
}

#[test]
fn a_pod_cannot_send_what_is_no_ip() {
    let field = Field::new();
    let out = Injector::open(&field.attacker.netns, "eth0");
    let host = mac_of_gateway(&field);
    let marker = field.marker;
    field.dropped("an unknown ethertype", "NotIp", || {
        out.send(&ethernet(
            out.mac,
            host,
            0x88b5,
            &[&marker[..], &[0; 64]].concat(),
        ));
    });
    field.dropped("a VLAN tag", "NotIp", || {
        let inner = udp(
            (out.mac, host),
            at(field.attacker.ips[0]),
            at(field.friend.ips[0]),
            &marker,
        );
        let tagged = [&[0, 5][..], &inner[12..]].concat();
        out.send(&ethernet(out.mac, host, 0x8100, &tagged));
    });
    field.dropped("an ARP request", "NotIp", || {
        out.send(&arp(out.mac, field.attacker.ips[0], field.friend.ips[0]));
    });
    field.dropped("an ARP request in the name of another pod", "NotIp", || {
        out.send(&arp(out.mac, field.friend.ips[0], field.attacker.ips[0]));
    });
    field.dropped("a truncated packet", "Malformed", || {
        let whole = udp(
            (out.mac, host),
            at(field.attacker.ips[0]),
            at(field.friend.ips[0]),
            &marker,
        );
        out.send(&whole[..30]);
    });
}

#[test]
fn the_overlay_is_for_known_nodes_and_their_own_pods() {
    let field = Field::new();
    let cluster = &field.cluster;
    let node1 = cluster.host_netns("node1").unwrap();
    let overlay = mac(&node1, "weft0");
    let macs = ([0x0a, 0x58, 9, 9, 9, 9], overlay);
    let (vnid, marker) = (field.vnid(), field.marker);
    let vtep = SocketAddr::new(cluster.node_ip("node1", false), VXLAN);
    let send = |host: &str, vnid, source: IpAddr, target: IpAddr| {
        let netns = cluster.host_netns(host).unwrap();
        let socket = netns.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        let inner = udp(macs, at(source), at(target), &marker);
        socket.send_to(&vxlan(vnid, &inner), vtep).unwrap();
    };
    for ipv6 in [0, 1] {
        let friend = field.friend.ips[ipv6];
        let remote = field.remote.ips[ipv6];
        let sniffer = Sniffer::open(&field.friend.netns);
        send("node2", vnid, remote, friend);
        eventually("what node2 may send arrives", || sniffer.saw(&marker) > 0);

        field.dropped_from("web", "an unknown VTEP", "UnknownPeer", || {
            send("web", vnid, remote, friend);
        });
        let stranger = ip("192.168.50.101");
        let event = cluster.dropped("node1", "UnknownPeer", |drop| drop.reason == "UnknownPeer");
        assert_eq!(event.hook, "from_overlay");
        assert_ne!(
            event.source.ip,
            Some(stranger),
            "the event tells of the inner packet"
        );
        let node2 = cluster.node_ip("node2", ipv6 == 1);
        field.dropped_from("web", "one that speaks for a node", "UnknownPeer", || {
            send("web", 0, node2, friend);
        });
        for (what, source) in [
            ("a pod of the receiving node", field.attacker.ips[ipv6]),
            (
                "a pod address of no node",
                ip(["10.131.0.9", "fd01:0:0:9::9"][ipv6]),
            ),
            (
                "an external address",
                ip(["203.0.113.7", "2001:db8::7"][ipv6]),
            ),
            ("the receiving node", cluster.node_ip("node1", ipv6 == 1)),
            (
                "the receiving node's gateway",
                cluster.gateway("node1", ipv6 == 1),
            ),
        ] {
            field.dropped(what, "ForeignSource", || send("node2", 0, source, friend));
            let event = cluster.dropped("node1", what, |drop| {
                drop.reason == "ForeignSource" && drop.source.ip == Some(source)
            });
            assert_eq!(event.destination.pod, Some(field.friend.label()));
        }
        field.dropped("another network", "Isolated", || {
            send("node2", vnid ^ 1, remote, friend);
        });
        field.dropped("not for this node", "NotForThisNode", || {
            send("node2", 0, remote, ip(["203.0.113.7", "2001:db8::7"][ipv6]));
        });
    }
}
