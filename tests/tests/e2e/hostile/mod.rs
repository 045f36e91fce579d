//! A pod with raw sockets against everybody else: frames at random, as fast as it can, and nothing of it may arrive or change
//! anything outside its own project.
//!
//! `WEFT_ATTACK_SECONDS` is how long, `WEFT_ATTACK_SEED` repeats an attack.

mod frames;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;
use weft_netns::NetNs;
use weft_tests::probe::{self, Server, Stream};

use self::frames::Knowledge;
use crate::cluster::{Cluster, DEADLINE, Pod, eventually, two_nodes};
use crate::wire::{Injector, Sniffer, mac};

/// Seconds, where nothing else is asked for.
const SECONDS: u64 = 8;
/// Frames between two looks at what has arrived.
const BATCH: usize = 2000;
const PORT: u16 = 7000;
/// The outside, which the attacker's policy denies.
const WEB: [&str; 4] = [
    "203.0.113.7",
    "2001:db8::7",
    "198.51.100.9",
    "198.51.100.200",
];

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value}: a number")),
    )
}

struct Field {
    cluster: Cluster,
    attacker: Pod,
    /// Of another project: on the attacker's node, and on the other one.
    near: Pod,
    far: Pod,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let field = Self {
            attacker: cluster.pod("a/attacker", "node1"),
            near: cluster.pod("b/near", "node1"),
            far: cluster.pod("b/far", "node2"),
            cluster,
        };
        let deny = |cidr: &str| json!({"type": "Deny", "to": {"cidrSelector": cidr}});
        let policy = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
            "metadata": {"namespace": "a", "name": "none"},
            "spec": {"egress": [deny("0.0.0.0/0"), deny("::/0")]},
        });
        field.cluster.apply(&policy.to_string(), "a test").unwrap();
        let web = SocketAddr::new(WEB[0].parse().unwrap(), PORT);
        eventually("the attacker's policy is in force", || {
            drop(probe::tcp(
                &field.attacker.netns,
                web,
                Duration::from_millis(60),
            ));
            field.cluster.count("node1", "EgressDenied") > 0
        });
        field
    }

    fn node(&self, name: &str) -> NetNs {
        self.cluster.host_netns(name).unwrap()
    }

    fn knowledge(&self, own_mac: [u8; 6]) -> Knowledge {
        let cluster = &self.cluster;
        let node1 = self.node("node1");
        let pods = cluster.pods("node1");
        let row = pods
            .iter()
            .find(|pod| pod.name == self.attacker.name)
            .unwrap();
        let both = |of: &dyn Fn(bool) -> IpAddr| [of(false), of(true)];
        let fixed = [
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "169.254.169.254",
            "172.30.0.1",
            "172.30.0.10",
            "224.0.0.1",
            "10.131.0.9",
            "::1",
            "::",
            "ff02::1",
            "ff02::2",
            "fe80::1",
            "::ffff:10.129.0.2",
            "64:ff9b::a80:2",
        ];
        let addresses = [&self.near, &self.far, &self.attacker]
            .into_iter()
            .flat_map(|pod| pod.ips.clone())
            .chain(["node1", "node2"].into_iter().flat_map(|node| {
                let gateways = both(&|ipv6| cluster.gateway(node, ipv6));
                let nodes = both(&|ipv6| cluster.node_ip(node, ipv6));
                gateways.into_iter().chain(nodes)
            }))
            .chain(WEB.iter().chain(&fixed).map(|ip| ip.parse().unwrap()));
        Knowledge {
            own: [self.attacker.ips[0], self.attacker.ips[1]],
            own_mac,
            gateway_mac: mac(&node1, &row.interface),
            macs: vec![
                mac(&self.near.netns, "eth0"),
                mac(&node1, "weft0"),
                mac(&node1, "eth0"),
                [0xff; 6],
                [0x01, 0, 0x5e, 0, 0, 1],
                [0; 6],
            ],
            addresses: addresses.collect(),
            vnids: cluster
                .projects("node1")
                .iter()
                .map(|project| project.vnid)
                .chain([0, 0xff_ffff])
                .collect(),
            marker: rand::random(),
        }
    }

    /// What must be as it was: addresses, routes with their MTUs, neighbours on devices of pods, firewall rules.
    fn state(&self, node: &str) -> String {
        let run = |command: &[&str]| self.cluster.run(node, command).ok();
        let mut state = String::new();
        for command in [
            &["ip", "-o", "addr"][..],
            &["ip", "route", "show", "table", "all"],
            &["ip", "-6", "route", "show", "table", "all"],
            &["iptables-save"],
            &["ip6tables-save"],
        ] {
            let said = run(command);
            // Comments have the time, chains and rules counters.
            let lines = said.lines().filter(|line| !line.starts_with('#'));
            let lines = lines.map(|line| line.split(" [").next().unwrap_or(line));
            state.extend(lines.map(|line| format!("{line}\n")));
        }
        for to in [
            self.cluster.node_ip("node2", false),
            self.cluster.node_ip("node1", false),
            self.near.ips[0],
            self.far.ips[0],
        ] {
            let route = run(&["ip", "route", "get", &to.to_string()]);
            let first = route.lines().next().unwrap_or_default().to_owned();
            state.extend([first, format!(" {}\n", route.contains("mtu"))]);
        }
        state
    }
}

/// Sends for so long, in batches; `frame` makes them, `look` is called between two batches.
fn attack(
    out: &Injector,
    duration: Duration,
    mut frame: impl FnMut() -> Vec<u8>,
    mut look: impl FnMut(),
) -> u64 {
    let end = Instant::now() + duration;
    let mut sent = 0;
    while Instant::now() < end {
        for _ in 0..BATCH {
            sent += u64::from(out.try_send(&frame()));
        }
        look();
    }
    look();
    sent
}

/// Lost packets of a stream between the victims, in a thousand.
fn loss(field: &Field, during: impl FnOnce()) -> f64 {
    let stream = Stream::start(&field.far.netns, &field.near.netns, field.near.ips[0]).unwrap();
    eventually("the victims talk", || stream.received() > 0);
    during();
    let report = stream.finish().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "thousands of packets")]
    let loss = report.lost.len() as f64 * 1000.0 / report.sent as f64;
    loss
}

#[test]
fn nothing_of_it_arrives_and_nothing_changes() {
    let seed = variable("WEFT_ATTACK_SEED").unwrap_or_else(rand::random);
    let duration = Duration::from_secs(variable("WEFT_ATTACK_SECONDS").unwrap_or(SECONDS));
    println!("WEFT_ATTACK_SEED={seed}");
    let field = Field::new();
    let cluster = &field.cluster;
    let out = Injector::open(&field.attacker.netns, "eth0");
    let knowledge = field.knowledge(out.mac);
    let _server = Server::start(&field.near.netns, PORT, "near").unwrap();
    let talks = || probe::tcp(&field.far.netns, (field.near.ips[0], PORT).into(), DEADLINE);
    assert!(talks().unwrap().reached(), "before");
    let before = ["node1", "node2"].map(|node| field.state(node));

    // The same pod, as fast as it can, with datagrams that are harmless: what a flood costs by itself.
    let gateway: SocketAddr = (cluster.gateway("node1", false), 9).into();
    let socket = field
        .attacker
        .netns
        .run(|| UdpSocket::bind("0.0.0.0:0").unwrap())
        .unwrap();
    let end = Instant::now() + duration / 2;
    let harmless = loss(&field, || {
        while Instant::now() < end {
            drop(socket.send_to(&[b'x'; 100], gateway));
        }
    });

    let watched = [
        ("b/near", Sniffer::open(&field.near.netns)),
        ("b/far", Sniffer::open(&field.far.netns)),
        ("the outside", Sniffer::open(&field.node("web"))),
    ];
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sent = 0;
    let hostile = loss(&field, || {
        sent = attack(
            &out,
            duration,
            || knowledge.frame(&mut rng),
            || {
                for (who, sniffer) in &watched {
                    assert_eq!(
                        sniffer.saw(&knowledge.marker),
                        0,
                        "{who} got a packet, seed {seed}"
                    );
                }
            },
        );
    });
    println!(
        "{sent} frames; lost in a thousand: {harmless:.2} under harmless ones, {hostile:.2} under these"
    );
    assert!(sent > 1000, "{sent} frames");
    assert!(
        hostile <= harmless + 20.0,
        "{hostile} of a thousand lost, {harmless} under a harmless flood"
    );

    for (node, before) in ["node1", "node2"].into_iter().zip(&before) {
        pretty(node, before, &field.state(node), seed);
        assert_eq!(cluster.agent_status(node).problems, []);
    }
    assert!(talks().unwrap().reached(), "after");
    // Each kernel sends some multicast of the link by itself.
    let rows = cluster.drops("node1").pods.into_iter();
    let charged = rows.filter(|row| row.pod == field.near.label() && row.reason != "LinkLocal");
    let charged: Vec<_> = charged.map(|row| (row.reason, row.packets)).collect();
    assert!(charged.is_empty(), "charged to the victim: {charged:?}");
}

/// Names the lines that differ, of thousands.
#[track_caller]
fn pretty(node: &str, before: &str, after: &str, seed: u64) {
    let lines = |text: &str| {
        text.lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (before, after) = (lines(before), lines(after));
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(
        changed.is_empty(),
        "{node} has changed, seed {seed}: {changed:#?}"
    );
}
