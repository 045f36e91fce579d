//! Real packets through the rules: a pod behind a `weft` device, an external host, another node behind `weft0`.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use weft_agent::apply::{host::Host, iptables::Iptables};
use weft_core::host::Route;
use weft_netns::NetNs;

use crate::namespace::{dual, namespace, sh, veth};

const POD: &str = "10.128.2.5";
const POD6: &str = "fd01:0:0:2::5";
const OTHER_POD: &str = "10.128.2.6";
const EXTERNAL: &str = "198.51.100.7";
const EXTERNAL6: &str = "2001:db8:7::7";
const NODE: &str = "198.51.100.1";
const NODE6: &str = "2001:db8:7::1";

/// A node with two pods and one external host on its underlay.
struct Lab {
    node: NetNs,
    pod: NetNs,
    other: NetNs,
    external: NetNs,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            node: namespace(),
            pod: namespace(),
            other: namespace(),
            external: namespace(),
        };
        veth(&lab.node, "eth0", &lab.external, "up0");
        sh(
            &lab.node,
            &format!(
                "ip address add {NODE}/24 dev eth0 && ip address add {NODE6}/64 dev eth0 nodad"
            ),
        );
        sh(
            &lab.external,
            &format!(
                "ip address add {EXTERNAL}/24 dev up0 && ip address add {EXTERNAL6}/64 dev up0 nodad"
            ),
        );
        let plan = dual();
        let mut routes = Vec::new();
        for (ns, device, ipv4, ipv6) in [
            (&lab.pod, "weftaaaaaaaaaa", POD, Some(POD6)),
            (&lab.other, "weftbbbbbbbbbb", OTHER_POD, None),
        ] {
            veth(&lab.node, device, ns, "eth0");
            // The pod's next hops are link-local addresses that nobody holds, with permanent neighbours, as CNI makes
            // them.
            sh(
                &lab.node,
                &format!("ip link set {device} address 0a:58:a9:fe:01:01"),
            );
            sh(
                ns,
                &format!(
                    "ip address add {ipv4}/32 dev eth0 && ip route add 169.254.1.1 dev eth0 \
                     && ip neighbour add 169.254.1.1 lladdr 0a:58:a9:fe:01:01 dev eth0 nud permanent \
                     && ip route add default via 169.254.1.1 dev eth0"
                ),
            );
            let mut addresses = vec![ipv4];
            if let Some(ipv6) = ipv6 {
                sh(
                    ns,
                    &format!(
                        "ip address add {ipv6}/128 dev eth0 nodad && ip neighbour add fe80::1 lladdr 0a:58:a9:fe:01:01 dev eth0 nud permanent && ip route add default via fe80::1 dev eth0"
                    ),
                );
                addresses.push(ipv6);
            }
            for address in addresses {
                let address: IpAddr = address.parse().unwrap();
                let gateway = plan
                    .addresses
                    .iter()
                    .find(|g| g.is_ipv4() == address.is_ipv4());
                routes.push(Route {
                    destination: address.into(),
                    device: device.into(),
                    source: *gateway.unwrap(),
                });
            }
        }
        let report = lab
            .node
            .run(|| {
                Iptables::new().sync(&plan.firewall).unwrap();
                Host::open().unwrap().sync(&plan, &routes).unwrap()
            })
            .unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        // A host that drops what it is not told to forward: our rules have to accept.
        for program in ["iptables", "ip6tables"] {
            sh(
                &lab.node,
                &format!(
                    "{program} -P FORWARD DROP && {program} -P INPUT DROP \
                     && {program} -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"
                ),
            );
        }
        sh(&lab.node, "ip6tables -A INPUT -p icmpv6 -j ACCEPT");
        lab
    }

    /// Packets counted by the first rule of the administrators' chain.
    fn counted(&self, program: &str) -> u64 {
        let list = sh(
            &self.node,
            &format!("{program} -nvxL OPENSHIFT-ADMIN-OUTPUT-RULES"),
        );
        let rule = list.lines().nth(2).expect("a rule");
        rule.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Accepts connections on any address, and tells each peer the address it was seen with. Ends with the process.
fn echo_peer(ns: &NetNs) -> u16 {
    let listener = ns.run(|| TcpListener::bind("[::]:0")).unwrap().unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let peer = stream.peer_addr().unwrap().ip().to_canonical();
            // A peer that is gone already is no matter of the server's.
            drop(stream.write_all(peer.to_string().as_bytes()));
        }
    });
    port
}

/// The address that the server at `to` saw, or `None` when nobody answered in time.
fn seen_by(from: &NetNs, to: &str, port: u16, wait: Duration) -> Option<String> {
    let to = SocketAddr::new(to.parse().unwrap(), port);
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, wait).ok()?;
        stream.set_read_timeout(Some(wait)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })
    .unwrap()
}

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(700);

#[test]
fn the_external_host_sees_the_node_and_pods_see_each_other() {
    let lab = Lab::new();
    let outside = echo_peer(&lab.external);
    assert_eq!(
        seen_by(&lab.pod, EXTERNAL, outside, LONG).as_deref(),
        Some(NODE)
    );
    assert_eq!(
        seen_by(&lab.pod, EXTERNAL6, outside, LONG).as_deref(),
        Some(NODE6)
    );
    let inside = echo_peer(&lab.other);
    assert_eq!(
        seen_by(&lab.pod, OTHER_POD, inside, LONG).as_deref(),
        Some(POD)
    );
    // The node itself comes with its gateway address.
    let pod = echo_peer(&lab.pod);
    assert_eq!(
        seen_by(&lab.node, POD, pod, LONG).as_deref(),
        Some("10.128.2.1")
    );
    // And pods reach the node through an INPUT chain that drops by policy.
    let node = echo_peer(&lab.node);
    assert_eq!(
        seen_by(&lab.pod, "10.128.2.1", node, LONG).as_deref(),
        Some(POD)
    );
    assert_eq!(
        seen_by(&lab.external, NODE, node, SHORT),
        None,
        "INPUT stays closed to others"
    );
}

#[test]
fn the_administrators_chain_sees_what_leaves_from_pods_and_nothing_else() {
    let lab = Lab::new();
    let outside = echo_peer(&lab.external);
    let inside = echo_peer(&lab.other);
    let pod = echo_peer(&lab.pod);
    let node = echo_peer(&lab.node);
    for program in ["iptables", "ip6tables"] {
        sh(
            &lab.node,
            &format!("{program} -A OPENSHIFT-ADMIN-OUTPUT-RULES"),
        );
    }
    // Everything that is not pod to external: none of it is counted.
    sh(
        &lab.external,
        &format!("ip route add {POD} via {NODE} && ip -6 route add {POD6} via {NODE6}"),
    );
    assert!(seen_by(&lab.pod, OTHER_POD, inside, LONG).is_some());
    assert!(seen_by(&lab.pod, "10.128.2.1", node, LONG).is_some());
    assert!(seen_by(&lab.node, POD, pod, LONG).is_some());
    assert!(seen_by(&lab.node, EXTERNAL, outside, LONG).is_some());
    // To a pod of another node: into the overlay device, where nobody answers.
    let remote: SocketAddr = "10.129.0.5:9".parse().unwrap();
    lab.pod
        .run(|| {
            UdpSocket::bind("0.0.0.0:0")
                .unwrap()
                .send_to(b"x", remote)
                .unwrap()
        })
        .unwrap();
    assert_eq!((lab.counted("iptables"), lab.counted("ip6tables")), (0, 0));

    // Every packet that a pod sends out is, not only the first of a connection.
    assert!(seen_by(&lab.pod, EXTERNAL, outside, LONG).is_some());
    assert!(lab.counted("iptables") >= 3, "{}", lab.counted("iptables"));
    assert!(seen_by(&lab.pod, EXTERNAL6, outside, LONG).is_some());
    assert!(lab.counted("ip6tables") >= 3);
}

#[test]
fn an_administrators_drop_rule_stops_its_destination_only() {
    let lab = Lab::new();
    let outside = echo_peer(&lab.external);
    sh(&lab.external, "ip address add 198.51.100.8/24 dev up0");
    sh(
        &lab.node,
        &format!("iptables -A OPENSHIFT-ADMIN-OUTPUT-RULES -d {EXTERNAL} -j DROP"),
    );
    assert_eq!(seen_by(&lab.pod, EXTERNAL, outside, SHORT), None);
    assert!(lab.counted("iptables") > 0, "dropped by that rule");
    assert!(seen_by(&lab.pod, "198.51.100.8", outside, LONG).is_some());
    // The node's own traffic is none of the chain's business.
    assert!(seen_by(&lab.node, EXTERNAL, outside, LONG).is_some());
}

#[test]
fn the_overlay_passes_a_closed_input_chain_and_is_not_tracked() {
    let lab = Lab::new();
    // weft0 holds the port on every address; what it receives without a program attached it drops, uncounted by INPUT.
    lab.external
        .run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(&[0; 30], (NODE, 4789)).unwrap();
        })
        .unwrap();
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let rules = sh(
            &lab.node,
            "iptables -nvxL OPENSHIFT-FIREWALL-ALLOW && iptables -t raw -nvxL OPENSHIFT-NOTRACK",
        );
        let counted = rules
            .lines()
            .filter(|l| l.contains("dpt:4789"))
            .filter(|l| l.split_whitespace().next() != Some("0"))
            .count();
        if counted == 2 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{rules}");
        std::thread::yield_now();
    }
}
