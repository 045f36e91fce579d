//! Choice of the node's address from a real namespace, and its changes.

use std::sync::mpsc::channel;
use std::time::Duration;

use weft_agent::netlink::Netlink;
use weft_agent::observe::node::{Choice, NodeError, Underlay, check, check_mtu, observe, watch};
use weft_netns::NetNs;

use crate::namespace::{cluster, namespace, sh};

/// Two interfaces, both families, the default routes over `eth1`.
fn node() -> NetNs {
    let ns = namespace();
    for name in ["eth0", "eth1", "weft0"] {
        sh(
            &ns,
            &format!("ip link add {name} type ifb && ip link set {name} up"),
        );
    }
    sh(
        &ns,
        "ip address add 192.0.2.10/24 dev eth0 && ip address add 192.0.2.11/24 dev eth0 \
         && ip address add 2001:db8:1::10/64 dev eth0 nodad \
         && ip address add 198.51.100.10/24 dev eth1 && ip address add 2001:db8:2::10/64 dev eth1 nodad \
         && ip address add 203.0.113.99/32 dev lo && ip address add 10.128.2.1/32 dev weft0",
    );
    ns
}

fn choose(ns: &NetNs, ip: Option<&str>, interface: Option<&str>) -> Result<Underlay, NodeError> {
    let choice = Choice {
        name: "node1".into(),
        ip: ip.map(|ip| ip.parse().unwrap()),
        interface: interface.map(Into::into),
    };
    ns.run(|| observe(&mut Netlink::open()?, &choice)).unwrap()
}

#[track_caller]
fn chosen(ns: &NetNs, ip: Option<&str>, interface: Option<&str>) -> (String, String) {
    let it = choose(ns, ip, interface).unwrap();
    (it.node.ip.to_string(), it.interface)
}

fn pair(ip: &str, interface: &str) -> (String, String) {
    (ip.into(), interface.into())
}

#[test]
fn node_ip_then_interface_then_default_route() {
    let ns = node();
    sh(
        &ns,
        "ip route add default via 198.51.100.1 dev eth1 metric 100",
    );
    sh(
        &ns,
        "ip route add default via 192.0.2.1 dev eth0 metric 200",
    );
    assert_eq!(chosen(&ns, None, None), pair("198.51.100.10", "eth1"));
    assert_eq!(chosen(&ns, None, Some("eth0")), pair("192.0.2.10", "eth0"));
    assert_eq!(
        chosen(&ns, Some("192.0.2.11"), None),
        pair("192.0.2.11", "eth0")
    );
    assert_eq!(
        chosen(&ns, Some("2001:db8:2::10"), Some("eth0")),
        pair("2001:db8:2::10", "eth1")
    );
    // All addresses, but not loopback's, link-local ones and our gateways.
    let addresses: Vec<_> = choose(&ns, None, None)
        .unwrap()
        .node
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        addresses,
        [
            "192.0.2.10",
            "192.0.2.11",
            "198.51.100.10",
            "203.0.113.99",
            "2001:db8:1::10",
            "2001:db8:2::10"
        ]
    );
}

#[test]
fn without_an_ipv4_default_route_the_ipv6_one_counts() {
    let ns = node();
    sh(&ns, "ip -6 route add default via 2001:db8:2::1 dev eth1");
    assert_eq!(chosen(&ns, None, None), pair("198.51.100.10", "eth1"));
    sh(&ns, "ip address del 198.51.100.10/24 dev eth1");
    assert_eq!(chosen(&ns, None, None), pair("2001:db8:2::10", "eth1"));
}

#[test]
fn what_cannot_be_used_is_refused_with_the_remedy() {
    let ns = node();
    for (ip, interface, words) in [
        (Some("127.0.0.1"), None, ["127.0.0.1", "loopback"]),
        (Some("::1"), None, ["::1", "loopback"]),
        (
            Some("192.0.2.77"),
            None,
            ["no interface of this node", "192.0.2.10"],
        ),
        (None, Some("eth7"), ["eth7", "eth0, eth1"]),
        (
            None,
            Some("lo0"),
            ["nodeInterface lo0", "no such interface"],
        ),
        (None, None, ["no default route", "set nodeIP"]),
    ] {
        let error = choose(&ns, ip, interface).unwrap_err().to_string();
        assert!(
            words.iter().all(|w| error.contains(w)),
            "{ip:?} {interface:?}: {error}"
        );
    }
    sh(&ns, "ip address flush dev eth0");
    let error = choose(&ns, None, Some("eth0")).unwrap_err().to_string();
    assert!(error.contains("eth0 has no global address"), "{error}");
}

#[test]
fn an_address_inside_the_cluster_is_refused() {
    let ns = node();
    let node = choose(&ns, Some("192.0.2.10"), None).unwrap().node;
    check(&node, &cluster(&["10.128.0.0/14"])).unwrap();
    let error = check(&node, &cluster(&["10.128.0.0/14", "192.0.0.0/16"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("192.0.2.10") && error.contains("cluster network 192.0.0.0/16"),
        "{error}"
    );
    let mut network = cluster(&["10.128.0.0/14"]);
    network.services = vec!["192.0.2.0/24".parse().unwrap()];
    let error = check(&node, &network).unwrap_err().to_string();
    assert!(error.contains("service network 192.0.2.0/24"), "{error}");
}

#[test]
fn an_underlay_that_is_too_narrow_is_a_problem_with_both_numbers() {
    let ns = node();
    let network = cluster(&["10.128.0.0/14"]);
    let fits = choose(&ns, Some("192.0.2.10"), None).unwrap();
    assert_eq!(check_mtu(&fits, &network), None);
    sh(&ns, "ip link set eth0 mtu 1499");
    let narrow = choose(&ns, Some("192.0.2.10"), None).unwrap();
    let problem = check_mtu(&narrow, &network).unwrap();
    for word in ["1450", "1500", "eth0", "1499", "mtu to 1449"] {
        assert!(
            problem.message.contains(word),
            "{word}: {}",
            problem.message
        );
    }
}

#[test]
fn a_changed_address_is_noticed_and_our_own_devices_are_not() {
    let ns = node();
    let (tell, told) = channel();
    let choice = Choice {
        name: "node1".into(),
        ip: None,
        interface: Some("eth0".into()),
    };
    let watch = ns
        .run(|| {
            watch(choice, move |now| {
                tell.send(now.map_err(|e| e.to_string())).unwrap();
            })
        })
        .unwrap()
        .unwrap();
    let next = || told.recv_timeout(Duration::from_secs(4)).unwrap();
    assert_eq!(next().unwrap().node.ip.to_string(), "192.0.2.10");

    sh(&ns, "ip address flush dev eth0");
    // A burst may be seen in the middle; the last word counts.
    let mut last = next();
    while let Ok(more) = told.recv_timeout(Duration::from_millis(400)) {
        last = more;
    }
    assert!(last.unwrap_err().contains("eth0 has no global address"));
    sh(&ns, "ip address add 192.0.2.20/24 dev eth0");
    assert_eq!(next().unwrap().node.ip.to_string(), "192.0.2.20");
    sh(&ns, "ip link set eth0 mtu 1400");
    assert_eq!(next().unwrap().mtu, 1400);
    sh(
        &ns,
        "ip link add weftaaaaaaaaaa type ifb && ip address add 10.128.2.2/32 dev weft0",
    );
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err());
    drop(watch);
    assert!(told.recv().is_err(), "the thread has ended");
}
