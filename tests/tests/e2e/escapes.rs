//! Ways that the host's address translation could open past the data path: addresses of services that nobody translates,
//! and translations to the overlay's port, to the node's loopback, and from the node's name server to the outside.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use weft_netns::NetNs;
use weft_tests::probe::{self, Outcome};

use crate::cluster::{Cluster, DEADLINE, Pod, eventually, two_nodes};
use crate::frame;
use crate::icmp::ping;
use crate::party::{PORT, Party, reaches, udp};
use crate::wire::{Injector, Sniffer, mac};

/// How long a connection that must not get through is tried.
const GLANCE: Duration = Duration::from_millis(300);
/// Addresses in the network of services that no service has: an accomplice outside has them.
const GHOSTS: [&str; 2] = ["172.30.77.7", "fd02::7707"];
/// The same beside that network.
const NEIGHBOURS: [&str; 2] = ["172.31.77.7", "fd03::7707"];
const OUTSIDE: [&str; 2] = ["203.0.113.7", "2001:db8::7"];
const VXLAN: u16 = 4789;

struct Field {
    cluster: Cluster,
    /// On node1, of one project.
    pod: Party,
    near: Party,
    /// On node2, of another project.
    target: Pod,
    web: Party,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let outside = cluster.state().unwrap().externals[0].underlay;
        for (index, own) in GHOSTS.iter().zip(NEIGHBOURS).enumerate() {
            for address in [own.0, &own.1] {
                let way = outside[index].to_string();
                let local = ["ip", "route", "add", "local", address, "dev", "lo"];
                cluster.run("web", &local).ok();
                let there = ["ip", "route", "add", address, "via", &way];
                cluster.run("node1", &there).ok();
            }
        }
        // A host answers a peer with one refusal a second, which is not what is looked at here.
        for limit in ["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"] {
            cluster.run("node1", &["sysctl", "-wq", limit]).ok();
        }
        let all = [OUTSIDE, GHOSTS, NEIGHBOURS].concat();
        Self {
            pod: Party::of_pod(&cluster.pod("a/p1", "node1")),
            near: Party::of_pod(&cluster.pod("a/p2", "node1")),
            target: cluster.pod("b/target", "node2"),
            web: Party::of_host(
                &cluster,
                "web",
                all.iter().map(|ip| ip.parse().unwrap()).collect(),
            ),
            cluster,
        }
    }

    fn node1(&self, ips: Vec<IpAddr>) -> Party {
        Party::of_host(&self.cluster, "node1", ips)
    }

    fn netns(&self, host: &str) -> NetNs {
        self.cluster.host_netns(host).unwrap()
    }

    /// `iptables ARGS` on a node.
    fn tables(&self, node: &str, ipv6: bool, args: &str) -> String {
        let program = ["iptables", "ip6tables"][usize::from(ipv6)];
        let command = [&[program, "-w", "5"][..], &words(args)].concat();
        self.cluster.run(node, &command).ok()
    }

    /// Translates what comes to an address and port, both of TCP and of UDP; `from` narrows it.
    fn translate(&self, node: &str, from: &str, at: SocketAddr, to: SocketAddr) {
        for protocol in ["tcp", "udp"] {
            let (ip, port) = (at.ip(), at.port());
            let rule = format!(
                "-t nat -A PREROUTING {from} -d {ip} -p {protocol} --dport {port} -j DNAT --to-destination {to}"
            );
            self.tables(node, at.is_ipv6(), &rule);
        }
    }

    /// Packets that the rules of a chain dropped.
    fn dropped(&self, node: &str, ipv6: bool, table: &str, chain: &str) -> u64 {
        let list = self.tables(node, ipv6, &format!("-t {table} -nvxL {chain}"));
        let rules = list.lines().map(|line| line.split_whitespace());
        let drops = rules.filter_map(|mut rule| {
            let packets = rule.next()?.parse::<u64>().ok()?;
            (rule.nth(1) == Some("DROP")).then_some(packets)
        });
        drops.sum()
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Both TCP and UDP meet with this.
#[track_caller]
fn meets(from: &Party, to: SocketAddr, expected: &Outcome, patience: Duration) {
    let tcp = probe::tcp(&from.netns, to, patience).unwrap();
    assert_eq!(&tcp, expected, "TCP {from} -> {to}");
    let mut udp = udp(&from.netns, None, to, patience);
    // A host whose own rules refuse a datagram says so to the call that sends it.
    let kernel = Outcome::Failed("Operation not permitted (os error 1)".into());
    if udp == kernel && from.name.starts_with("node") {
        udp = Outcome::Refused;
    }
    assert_eq!(&udp, expected, "UDP {from} -> {to}");
}

/// As kube-proxy makes it: the chain, and a jump to it at the top of another.
fn prepend(field: &Field, ipv6: bool, from: &str, chain: &str) {
    field.tables("node1", ipv6, &format!("-I {from} 1 -j {chain}"));
}

#[test]
fn an_address_without_a_service_is_refused_and_never_leaves() {
    let field = Field::new();
    for (index, ghost) in GHOSTS.into_iter().enumerate() {
        let (ipv6, ghost) = (index == 1, ip(ghost));
        let node1 = field.node1(vec![field.cluster.node_ip("node1", ipv6)]);
        let octets = match ghost {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        for from in [&field.pod, &node1] {
            reaches(from, &field.web, ip(NEIGHBOURS[index]), node1.ip(ipv6));
        }
        let at = SocketAddr::new(ghost, PORT);
        let sniffer = Sniffer::open(&field.web.netns);
        for from in [&field.pod, &node1] {
            meets(from, at, &Outcome::Refused, 2 * GLANCE);
        }
        let answered = ping(&field.pod.netns, ghost, GLANCE);
        assert!(!answered, "ICMP to {ghost}");
        assert_eq!(sniffer.saw(&octets), 0, "packets to {ghost} outside");

        // Whatever somebody accepts before: here the service proxy's chain, for a mark that it has set or not.
        field.tables("node1", ipv6, "-N KUBE-FORWARD");
        field.tables("node1", ipv6, "-A KUBE-FORWARD -j ACCEPT");
        for from in ["FORWARD", "OUTPUT"] {
            prepend(&field, ipv6, from, "KUBE-FORWARD");
        }
        let dropped = || field.dropped("node1", ipv6, "mangle", "OPENSHIFT-BLOCK-POSTROUTING");
        for from in [&field.pod, &node1] {
            let before = dropped();
            eventually("accepted there, and dropped after it", || {
                drop(udp(&from.netns, None, at, Duration::from_millis(20)));
                dropped() > before
            });
            let tcp = probe::tcp(&from.netns, at, GLANCE).unwrap();
            assert_eq!(tcp, Outcome::Silent, "TCP {from} -> {at}");
        }
        assert_eq!(sniffer.saw(&octets), 0, "packets to {ghost} outside");
    }
}

#[test]
fn what_the_service_proxy_refuses_is_refused() {
    let field = Field::new();
    for (index, outside) in OUTSIDE.into_iter().enumerate() {
        let (ipv6, outside) = (index == 1, ip(outside));
        let node1 = field.node1(vec![field.cluster.node_ip("node1", ipv6)]);
        let (at, own) = (
            SocketAddr::new(outside, PORT),
            SocketAddr::new(node1.ip(ipv6), PORT),
        );
        let before = [at, own];
        for to in before {
            let reached = probe::tcp(&field.pod.netns, to, DEADLINE).unwrap();
            assert!(
                matches!(reached, Outcome::Reached { .. }),
                "{to}: {reached:?}"
            );
        }
        let rules = |text: &str| {
            for rule in text.lines() {
                field.tables("node1", ipv6, rule.trim());
            }
        };
        let load_balancer = ip(NEIGHBOURS[index]);
        rules("-N KUBE-SERVICES\n-N KUBE-EXTERNAL-SERVICES\n-N KUBE-PROXY-FIREWALL");
        rules(&format!("-A KUBE-SERVICES -d {outside} -j REJECT"));
        rules("-A KUBE-EXTERNAL-SERVICES -m addrtype --dst-type LOCAL -j REJECT");
        rules(&format!(
            "-A KUBE-PROXY-FIREWALL -d {load_balancer} -j DROP"
        ));
        for round in ["it starts", "it starts again"] {
            rules(
                "-I FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
                 -I FORWARD -m conntrack --ctstate NEW -m comment --comment balancers -j KUBE-PROXY-FIREWALL
                 -I INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES",
            );
            eventually(&format!("refused after {round}"), || {
                // An ICMP error that comes while the client is still at sending is dropped, and comes again a second later.
                let ask = |to| probe::tcp(&field.pod.netns, to, 5 * GLANCE).unwrap();
                ask(at) == Outcome::Refused && ask(own) == Outcome::Refused
            });
            meets(&field.pod, at, &Outcome::Refused, DEADLINE);
            meets(&field.pod, own, &Outcome::Refused, DEADLINE);
            let to = SocketAddr::new(load_balancer, PORT);
            meets(&field.pod, to, &Outcome::Silent, GLANCE);
            assert!(field.dropped("node1", ipv6, "filter", "KUBE-PROXY-FIREWALL") > 1);
            // Pods talk past all this.
            reaches(
                &field.pod,
                &field.near,
                field.near.ip(ipv6),
                field.pod.ip(ipv6),
            );
            rules(
                "-D FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
                 -D FORWARD -m conntrack --ctstate NEW -m comment --comment balancers -j KUBE-PROXY-FIREWALL
                 -D INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES",
            );
        }
        for to in before {
            let reached = probe::tcp(&field.pod.netns, to, DEADLINE).unwrap();
            assert!(
                matches!(reached, Outcome::Reached { .. }),
                "{to}: {reached:?}"
            );
        }
    }
}

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
        field.translate("node1", "", service(ipv6), overlay("node2", ipv6));
    }
    for node in ["node1", "node2"] {
        field.translate(node, "", port(node), overlay("node2", false));
    }
    field.tables(
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
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.send_to(b"?", at(ip(OUTSIDE[1]))).unwrap();
    client.recv_from(&mut [0; 64]).unwrap();
}

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
        field.translate("node1", "", service, direct);
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
            field.translate("node1", &from, server, away);
            field.translate("node1", "", server, pod(&field.pod));
            let dropped = || field.dropped("node1", ipv6, "filter", "OPENSHIFT-FIREWALL-DNAT");
            meets(&field.pod, server, &Outcome::Silent, GLANCE);
            assert!(dropped() >= 2, "{} packets", dropped());
            // A name server in a pod, on a port of the node: for pods and for whoever is outside.
            let reached = Outcome::Reached {
                peer_seen: field.near.ip(ipv6),
                server: field.pod.name.clone(),
            };
            meets(&field.near, server, &reached, DEADLINE);
        }
        let reached = probe::tcp(&field.web.netns, (node, 53).into(), DEADLINE).unwrap();
        assert!(matches!(reached, Outcome::Reached { .. }), "{reached:?}");
        // Other ports are the egress firewall's, which lets this project out.
        let other = SocketAddr::new(node, 5353);
        field.translate("node1", "", other, away);
        let reached = Outcome::Reached {
            peer_seen: node,
            server: field.web.name.clone(),
        };
        meets(&field.pod, other, &reached, DEADLINE);
    }
}
