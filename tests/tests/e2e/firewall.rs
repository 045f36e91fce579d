//! The host's firewall: what is flushed comes back, what administrators write stays and is obeyed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_lab::lab::Action;
use weft_lab::probe::Outcome;
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, Said, two_nodes};
use crate::party::{PORT, Party, reaches, udp};

const ADMIN: &str = "OPENSHIFT-ADMIN-OUTPUT-RULES";
const PROGRAMS: [&str; 2] = ["iptables", "ip6tables"];

/// Two pods on node1, one on node2, the nodes and the external host.
struct Field {
    cluster: Cluster,
    pod: Party,
    neighbour: Party,
    remote: Party,
    node1: Party,
    node2: Party,
    web: Party,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let node = |name: &str| {
            let ips = [false, true].map(|ipv6| cluster.node_ip(name, ipv6));
            Party::of_host(&cluster, name, ips.into())
        };
        let web = ["203.0.113.7", "2001:db8::7"].map(|ip| ip.parse().unwrap());
        let other: IpAddr = "198.51.100.9".parse().unwrap();
        Self {
            pod: Party::of_pod(&cluster.pod("a/p1", "node1")),
            neighbour: Party::of_pod(&cluster.pod("a/p2", "node1")),
            remote: Party::of_pod(&cluster.pod("a/p3", "node2")),
            node1: node("node1"),
            node2: node("node2"),
            web: Party::of_host(&cluster, "web", [&web[..], &[other]].concat()),
            cluster,
        }
    }

    fn tables(&self, program: &str, args: &[&str]) -> Said {
        self.cluster
            .run("node1", &[&[program, "-w", "5"], args].concat())
    }

    /// Everything in force, without counters and time stamps.
    fn rules(&self, program: &str) -> Vec<String> {
        let saved = self
            .cluster
            .run("node1", &[&format!("{program}-save")])
            .ok();
        let lines = saved.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(" [").next().unwrap().to_owned())
            .collect()
    }

    /// Out of the cluster, as the node.
    fn leaves(&self, from: &Party, ipv6: bool) {
        reaches(from, &self.web, self.web.ip(ipv6), self.node1.ip(ipv6));
    }

    /// Packets that met the first rule of the administrators' chain.
    fn admin_packets(&self, program: &str) -> u64 {
        let list = self.tables(program, &["-t", "filter", "-nvxL", ADMIN]).ok();
        let rule = list.lines().nth(2).unwrap();
        rule.split_whitespace().next().unwrap().parse().unwrap()
    }
}

#[test]
fn flushed_rules_come_back() {
    let field = Field::new();
    let wanted = PROGRAMS.map(|program| field.rules(program));
    let mut slowest = Duration::ZERO;
    for (index, program) in PROGRAMS.into_iter().enumerate() {
        // Each is one transaction, so that no repair falls into its middle.
        for attack in [
            " -w 5 -t nat -F",
            " -w 5 -t filter -F",
            " -w 5 -t raw -F",
            " -w 5 -D FORWARD -j OPENSHIFT-FIREWALL-FORWARD",
            " -w 5 -F OPENSHIFT-FIREWALL-FORWARD",
            " -w 5 -P FORWARD DROP",
            // What a firewall service's restart does: no chain is left.
            "-restore -w 5 <<< $'*filter\n:FORWARD DROP\nCOMMIT\n*nat\nCOMMIT\n*raw\nCOMMIT'",
        ] {
            let command = format!("{program}{attack}");
            field.cluster.run("node1", &["bash", "-c", &command]).ok();
            let mut now = Vec::new();
            let policy = |line: &String| !line.starts_with(":FORWARD");
            let wanted: Vec<_> = wanted[index]
                .iter()
                .filter(|line| policy(line))
                .cloned()
                .collect();
            let took = eventually(&format!("repair after {command}"), || {
                now = field.rules(program);
                now.retain(policy);
                now == wanted
            });
            slowest = slowest.max(took);
            field.leaves(&field.pod, index == 1);
        }
    }
    let status = field.cluster.agent_status("node1");
    assert!(status.ready, "{}", status.not_ready);
    println!("flushed rules are back after {slowest:?} at most");
}

#[test]
fn an_administrators_rule_sees_what_pods_send_out_and_nothing_else() {
    let field = Field::new();
    let Field {
        cluster,
        pod,
        neighbour,
        remote,
        node1,
        node2,
        web,
    } = &field;
    for (index, program) in PROGRAMS.into_iter().enumerate() {
        let ipv6 = index == 1;
        field
            .tables(
                program,
                &["-A", ADMIN, "-m", "comment", "--comment", "counted"],
            )
            .ok();
        let send = |from: &Party, to: &Party| {
            let at = SocketAddr::new(to.ip(ipv6), PORT);
            assert!(udp(&from.netns, None, at, SOON).reached(), "{from} -> {to}");
        };
        // One packet each of pod to pod, across nodes, pod to its node and back, node to external, external to node.
        for (from, to) in [
            (pod, neighbour),
            (pod, remote),
            (remote, pod),
            (pod, node1),
            (node1, pod),
            (node1, web),
            (web, node1),
            (node1, remote),
            (node2, pod),
        ] {
            send(from, to);
            assert_eq!(field.admin_packets(program), 0, "{from} -> {to}");
        }
        for count in 1..=5 {
            send(pod, web);
            assert_eq!(field.admin_packets(program), count, "pod -> external");
        }
        // Another node is outside of the pod network, too.
        send(pod, node2);
        assert_eq!(field.admin_packets(program), 6, "pod -> other node");
    }

    let forbidden: IpAddr = "203.0.113.7".parse().unwrap();
    field
        .tables(
            "iptables",
            &["-A", ADMIN, "-d", "203.0.113.7", "-j", "DROP"],
        )
        .ok();
    let chain = || field.tables("iptables", &["-S", ADMIN]).ok();
    let written = chain();
    assert_eq!(written.lines().count(), 3, "{written}");
    let obeyed = || {
        let glance = Duration::from_millis(100);
        let at = |ip: IpAddr| SocketAddr::new(ip, PORT);
        for from in [pod, neighbour] {
            let outcome = udp(&from.netns, None, at(forbidden), glance);
            assert_eq!(outcome, Outcome::Silent, "{from} -> {forbidden}");
            let allowed = "198.51.100.9".parse().unwrap();
            let outcome = udp(&from.netns, None, at(allowed), SOON);
            assert!(outcome.reached_from(node1.ip(false)), "{from}: {outcome:?}");
        }
        reaches(pod, neighbour, neighbour.ip(false), pod.ip(false));
        reaches(pod, remote, remote.ip(false), pod.ip(false));
        reaches(node1, web, forbidden, node1.ip(false));
    };
    obeyed();

    cluster.agent("node1", Action::Kill).unwrap();
    cluster.agent("node1", Action::Start).unwrap();
    assert_eq!(chain(), written, "after a restart");
    obeyed();
    let wanted = field.rules("iptables");
    for attack in [
        &["-t", "nat", "-F"][..],
        &["-F", "OPENSHIFT-FIREWALL-FORWARD"],
        &["-F", "FORWARD"],
    ] {
        field.tables("iptables", attack).ok();
        eventually("repaired", || field.rules("iptables") == wanted);
        assert_eq!(chain(), written, "after the repair of {attack:?}");
    }
    obeyed();
}
