//! The example of the egress firewall: a prefix, a name, and nothing else; and that the first rule that matches wins.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use weft_agent::api::view;
use weft_lab::dns::{self, Relay};
use weft_lab::probe::Lookup;
use weft_wait::eventually;

use crate::cluster::{Pod, Store, on_both_stores};
use crate::field::{DENY_ALL, Field, NODE, connects, ip, look_up, outside, rule};
use crate::verdict::Verdict;

const POLICY: &str = "example";
const PREFIXES: [&str; 2] = ["Allow 198.51.100.0/24", "Allow 2001:db8:1:1::/64"];
const NAME: [&str; 1] = ["Allow www.foo.com"];

/// Of both families: within the allowed prefix, of the name, and neither.
const ALLOWED: [&str; 2] = ["198.51.100.7", "2001:db8:1:1::7"];
const NAMED: [&str; 2] = ["203.0.113.131", "2001:db8:1:2::7"];
const NEITHER: [&str; 2] = ["203.0.113.132", "2001:db8:1:2::8"];

on_both_stores!(a_prefix_and_a_name_get_out_and_nothing_else_and_order_decides);

fn a_prefix_and_a_name_get_out_and_nothing_else_and_order_decides(store: Store) {
    let field = Field::on(store, 1);
    let pod = field.cluster.pod("a/p", "node1");
    // Pods ask their own node, whose port 53 no rule need allow.
    let node = field.cluster.host_netns("node1").unwrap();
    let listen = SocketAddr::new(ip(NODE), dns::PORT);
    let _relay = Relay::start(&node, listen, field.dns.address()).unwrap();
    let lookup = Lookup::at(ip(NODE));
    field.set("www.foo.com", 60, &NAMED.map(ip));
    for to in [ALLOWED, NAMED, NEITHER].concat() {
        field.open(&pod, ip(to));
    }

    field.apply("a", POLICY, &[&PREFIXES, &NAME, &DENY_ALL]);
    for (index, ipv6) in [false, true].into_iter().enumerate() {
        field.closes(&pod, ip(NEITHER[index]));
        field.open(&pod, ip(ALLOWED[index]));
        let round = connects(&pod, lookup, "www.foo.com", ipv6);
        assert_eq!(round.answer.addresses, [ip(NAMED[index])]);
        field.denied(&pod, ip(NEITHER[index]));
    }
    told(&field, &pod);

    // In reverse order Deny comes first, and nothing after it counts.
    field.apply("a", POLICY, &[&DENY_ALL, &NAME, &PREFIXES]);
    for (index, ipv6) in [false, true].into_iter().enumerate() {
        field.closes(&pod, ip(ALLOWED[index]));
        look_up(&pod, lookup, "www.foo.com", ipv6);
        field.denied(&pod, ip(NAMED[index]));
        field.denied(&pod, ip(NEITHER[index]));
    }

    field.delete("a", POLICY);
    for to in [ALLOWED, NAMED, NEITHER].concat() {
        field.opens(&pod, ip(to));
    }
    let status = field.cluster.agent_status("node1");
    assert_eq!(status.problems, []);
}

/// The event names project, policy and rule; each rule counts its packets.
fn told(field: &Field, pod: &Pod) {
    let event = monitored(field, pod, ip(NEITHER[0]));
    let drop: view::Drop = serde_json::from_str(&event).unwrap();
    assert_eq!(drop.reason, "EgressDenied");
    assert_eq!(drop.source.projects, ["a"], "{event}");
    assert_eq!(drop.policy.as_deref(), Some("a/example"), "{event}");
    assert_eq!(drop.rule, Some(4), "{event}");
    assert_eq!(drop.rule_text.as_deref(), Some("Deny 0.0.0.0/0"), "{event}");
    let hits = || -> Vec<u64> {
        let policy = field.policy("node1", "a", POLICY).unwrap();
        policy.rules.iter().map(|rule| rule.packets).collect()
    };
    let before = hits();
    assert_eq!(before.len(), PREFIXES.len() + NAME.len() + DENY_ALL.len());
    assert!(before.iter().all(|hits| *hits > 0), "{before:?}");
    field.denied(pod, ip(NEITHER[0]));
    let after = hits();
    assert!(after[3] > before[3], "{before:?} {after:?}");
    assert_eq!(after[..3], before[..3], "other rules");
}

/// What `weft monitor` prints of a denied packet of the pod.
fn monitored(field: &Field, pod: &Pod, to: IpAddr) -> String {
    let mut monitor = field.cluster.weft(Some("node1")).unwrap();
    let mut monitor = monitor
        .args(["monitor", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    // Ends with the monitor, or with the test.
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| tell.send(line))
    });
    let mut seen = None;
    // It tells what happens from its start on; when that is, only a line of it shows.
    eventually("the monitor tells", || {
        field.denied(pod, to);
        seen = told.try_iter().find(|line| line.contains(&to.to_string()));
        seen.is_some()
    });
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    seen.unwrap()
}

on_both_stores!(ports_narrow_a_rule);

fn ports_narrow_a_rule(store: Store) {
    let field = Field::on(store, 1);
    let pod = field.cluster.pod("a/p", "node1");
    let web = field.cluster.host_netns("web").unwrap();
    let servers =
        [7001, 7002, 7003].map(|port| weft_lab::probe::Server::start(&web, port, "web").unwrap());
    let at = |ip: IpAddr, port: u16| SocketAddr::new(ip, port);
    field.set("www.foo.com", 60, &[outside(1)]);
    field.apply(
        "a",
        "ports",
        &[
            &[
                "Allow 198.51.100.0/24 TCP/7001-7002",
                "Deny 198.51.100.7/32 UDP/1-65535",
            ],
            &["Allow www.foo.com TCP/7001", "Allow 203.0.113.53/32 UDP/53"],
            &["Deny 203.0.113.130/32 TCP/7001"],
            &["Allow 203.0.113.130/32", "Deny 0.0.0.0/0"],
        ],
    );
    field.closes(&pod, ip("198.51.100.7"));
    look_up(
        &pod,
        Lookup::at(ip(crate::field::DNS)),
        "www.foo.com",
        false,
    );
    let [near, named, mixed] = [ip("198.51.100.7"), outside(1), outside(2)];
    for (to, open) in [
        (at(near, 7001), true),
        (at(near, 7002), true),
        (at(near, 7003), false),
        (at(named, 7001), true),
        (at(named, 7002), false),
        (at(mixed, 7001), false),
        (at(mixed, 7002), true),
        (at(ip(crate::field::DNS), 53), false),
    ] {
        match field.try_tcp(&pod, to) {
            Verdict::Open => assert!(open, "{to}"),
            Verdict::Dropped(drop) => {
                assert!(!open && drop.reason == "EgressDenied", "{to}: {drop:?}");
            }
        }
    }
    drop(servers);
    // UDP has its own rules: the same port, another protocol.
    let since = crate::cluster::now();
    let to = at(near, 7001);
    crate::party::udp_socket(&pod.netns, None, to)
        .send(b"?")
        .unwrap();
    let drop = field.event(&pod, to, "UDP", since).unwrap();
    assert_eq!(drop.reason, "EgressDenied");

    // What is not understood is refused, and closes the project.
    let mut bad = rule("Allow 198.51.100.0/24");
    bad["to"]["ports"] = serde_json::json!([{"protocol": "TCP", "port": 9, "endPort": 3}]);
    if !field.takes("a", "ports", &serde_json::json!({"egress": [bad]})) {
        let policy = field.policy("node1", "a", "ports").unwrap();
        assert_eq!(policy.state, view::EgressPolicyState::Enforced);
        return;
    }
    field.closes_for(&pod, outside(2), "EgressClosed");
    eventually("the problem is told", || {
        let problems = field.cluster.agent_status("node1").problems;
        problems
            .iter()
            .any(|problem| problem.object == "EgressNetworkPolicy/a/ports")
    });
}
