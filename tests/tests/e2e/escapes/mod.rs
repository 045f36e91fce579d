//! Ways that the host's address translation could open past the data path: addresses of services that nobody translates,
//! and translations to the overlay's port, to the node's loopback, and from the node's name server to the outside.

mod node;
mod overlay;
mod refused;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_lab::probe::{self, Outcome};
use weft_netns::NetNs;

use crate::cluster::{Cluster, Pod, two_nodes};
use crate::party::{Party, udp};

/// How long a connection that must not get through is tried.
const GLANCE: Duration = Duration::from_millis(300);
/// Addresses in the network of services that no service has: an accomplice outside has them.
const GHOSTS: [&str; 2] = ["172.30.77.7", "fd02::7707"];
/// The same beside that network.
const NEIGHBOURS: [&str; 2] = ["172.31.77.7", "fd03::7707"];
const OUTSIDE: [&str; 2] = ["203.0.113.7", "2001:db8::7"];

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

    /// Packets that the rules of a chain dropped.
    fn dropped(&self, node: &str, ipv6: bool, table: &str, chain: &str) -> u64 {
        let list = self
            .cluster
            .tables(node, ipv6, &format!("-t {table} -nvxL {chain}"));
        let rules = list.lines().map(|line| line.split_whitespace());
        let drops = rules.filter_map(|mut rule| {
            let packets = rule.next()?.parse::<u64>().ok()?;
            (rule.nth(1) == Some("DROP")).then_some(packets)
        });
        drops.sum()
    }
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
