//! Overlay device, addresses, routes and settings.

use weft_agent::apply::host::{Host, HostError, Report};
use weft_core::compile::host::HostPlan;
use weft_core::host::Route;
use weft_netns::NetNs;

use crate::namespace::{dual, ipv4, namespace, plan, sh};

pub fn sync(ns: &NetNs, plan: &HostPlan, endpoints: &[Route]) -> Result<Report, HostError> {
    ns.run(|| Host::open()?.sync(plan, endpoints)).unwrap()
}

#[track_caller]
pub fn synced(ns: &NetNs, plan: &HostPlan, endpoints: &[Route]) -> Report {
    let report = sync(ns, plan, endpoints).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let again = sync(ns, plan, endpoints).unwrap();
    assert_eq!(again.writes, 0, "a second pass wrote: {:?}", again.done);
    assert_eq!(again.overlay, report.overlay);
    report
}

/// Our routes to `destination`, as `ip` prints them.
pub fn route(ns: &NetNs, destination: &str) -> String {
    let family = if destination.contains(':') {
        "-6"
    } else {
        "-4"
    };
    sh(ns, &format!("ip {family} route show exact {destination}"))
        .trim()
        .to_owned()
}

pub fn endpoint(device: &str, destination: &str, source: &str) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        device: device.into(),
        source: source.parse().unwrap(),
    }
}

/// A device with a carrier that swallows what is sent (not every kernel has `dummy`).
pub fn dummy(ns: &NetNs, name: &str) {
    sh(
        ns,
        &format!("ip link add {name} type ifb && ip link set {name} up"),
    );
}

#[test]
fn a_fresh_node_is_set_up_and_left_alone_afterwards() {
    let ns = namespace();
    dummy(&ns, "eth0");
    let report = synced(&ns, &dual(), &[]);
    assert!(report.writes > 0);

    let link = sh(&ns, "ip -d link show weft0");
    for part in [
        "external",
        "nolearning",
        "dstport 4789",
        "mtu 1450",
        "0a:58:a9:fe:01:02",
        "NOARP",
        "UP",
    ] {
        assert!(link.contains(part), "no {part} in {link}");
    }
    let addresses = sh(&ns, "ip address show weft0");
    assert!(addresses.contains("inet 10.128.2.1/32 "), "{addresses}");
    assert!(
        addresses.contains("inet6 fd01:0:0:2::1/128 "),
        "{addresses}"
    );
    assert!(
        !addresses.contains("fe80"),
        "no link-local address: {addresses}"
    );
    assert_eq!(
        route(&ns, "10.128.0.0/14"),
        "10.128.0.0/14 dev weft0 proto 119 scope link src 10.128.2.1"
    );
    let ipv6 = route(&ns, "fd01::/48");
    assert!(
        ipv6.contains("dev weft0 proto 119 src fd01:0:0:2::1"),
        "{ipv6}"
    );
    for (key, value) in [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv6.conf.eth0.accept_ra", "2"),
        ("net.ipv4.conf.weft0.rp_filter", "2"),
    ] {
        assert_eq!(sh(&ns, &format!("sysctl -n {key}")).trim(), value, "{key}");
    }
}

#[test]
fn an_ipv4_cluster_leaves_ipv6_forwarding_alone_and_works_where_ipv6_is_off() {
    let ns = namespace();
    sh(
        &ns,
        "sysctl -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
    );
    synced(&ns, &ipv4(), &[]);
    assert_eq!(
        sh(&ns, "sysctl -n net.ipv6.conf.all.forwarding").trim(),
        "0"
    );
    // A second family is added later: our own device gets IPv6 back.
    synced(&ns, &dual(), &[]);
}

#[test]
fn accept_ra_0_was_somebodys_decision() {
    let ns = namespace();
    dummy(&ns, "eth0");
    sh(&ns, "sysctl -w net.ipv6.conf.eth0.accept_ra=0");
    synced(&ns, &dual(), &[]);
    assert_eq!(
        sh(&ns, "sysctl -n net.ipv6.conf.eth0.accept_ra").trim(),
        "0"
    );
}

#[test]
fn what_can_be_changed_in_place_keeps_the_device() {
    let ns = namespace();
    let before = synced(&ns, &dual(), &[]);
    sh(
        &ns,
        "ip link set weft0 mtu 1300 arp on down && ip link set weft0 address 02:00:00:00:00:01",
    );
    sh(&ns, "ip link set weft0 type vxlan learning");
    let after = synced(&ns, &dual(), &[]);
    assert_eq!(after.overlay, before.overlay);
    let link = sh(&ns, "ip -d link show weft0");
    for part in ["nolearning", "mtu 1450", "0a:58:a9:fe:01:02", "NOARP", "UP"] {
        assert!(link.contains(part), "no {part} in {link}");
    }
    // Setting the device down took the routes.
    assert!(route(&ns, "10.128.0.0/14").contains("proto 119"));
    assert!(route(&ns, "fd01::/48").contains("proto 119"));
}

#[test]
fn another_port_needs_another_device() {
    let ns = namespace();
    dummy(&ns, "weftaaaaaaaaaa");
    let endpoints = [endpoint("weftaaaaaaaaaa", "10.128.2.5/32", "10.128.2.1")];
    let before = synced(&ns, &dual(), &endpoints);
    let mut moved = dual();
    moved.overlay.port = 4790;
    let after = synced(&ns, &moved, &endpoints);
    assert_ne!(after.overlay, before.overlay);
    assert!(sh(&ns, "ip -d link show weft0").contains("dstport 4790"));
    assert!(route(&ns, "10.128.0.0/14").contains("dev weft0"));
    assert!(route(&ns, "10.128.2.5/32").contains("src 10.128.2.1"));
    assert_eq!(
        sh(&ns, "sysctl -n net.ipv4.conf.weft0.rp_filter").trim(),
        "2"
    );
}

#[test]
fn a_subnet_change_moves_gateways_and_sources() {
    let ns = namespace();
    dummy(&ns, "weftaaaaaaaaaa");
    synced(
        &ns,
        &dual(),
        &[endpoint("weftaaaaaaaaaa", "10.128.2.5/32", "10.128.2.1")],
    );
    let moved = plan(
        &["10.128.0.0/14", "fd01::/48"],
        &["10.128.8.0/23", "fd01:0:0:8::/64"],
    );
    synced(
        &ns,
        &moved,
        &[endpoint("weftaaaaaaaaaa", "10.128.2.5/32", "10.128.8.1")],
    );
    let addresses = sh(&ns, "ip address show weft0");
    assert!(
        addresses.contains("10.128.8.1/32") && !addresses.contains("10.128.2.1"),
        "{addresses}"
    );
    assert!(
        addresses.contains("fd01:0:0:8::1") && !addresses.contains("fd01:0:0:2"),
        "{addresses}"
    );
    assert!(route(&ns, "10.128.0.0/14").contains("src 10.128.8.1"));
    assert!(route(&ns, "10.128.2.5/32").contains("src 10.128.8.1"));
    assert!(route(&ns, "fd01::/48").contains("src fd01:0:0:8::1"));
}

#[test]
fn somebody_elses_device_of_our_name_is_named_and_kept() {
    for (kind, word) in [
        ("ifb", "of kind ifb"),
        ("vxlan id 5 dstport 4789", "fixed network number"),
    ] {
        let ns = namespace();
        sh(&ns, &format!("ip link add weft0 type {kind}"));
        let error = sync(&ns, &ipv4(), &[]).unwrap_err().to_string();
        assert!(error.contains("weft0") && error.contains(word), "{error}");
        assert!(error.contains("ip link delete weft0"), "{error}");
        sh(&ns, "ip link show weft0");
    }
}

#[test]
fn a_taken_vxlan_port_is_named() {
    let ns = namespace();
    sh(
        &ns,
        "ip link add other type vxlan external dstport 4789 && ip link set other up",
    );
    let error = sync(&ns, &ipv4(), &[]).unwrap_err().to_string();
    assert!(
        error.contains("4789") && error.contains("vxlanPort"),
        "{error}"
    );
}

#[test]
fn only_routes_with_our_protocol_number_are_touched() {
    let ns = namespace();
    dummy(&ns, "eth0");
    synced(&ns, &dual(), &[]);
    for foreign in ["198.51.100.0/24", "10.129.0.0/24", "fd01:0:0:9::/64"] {
        sh(&ns, &format!("ip route add {foreign} dev eth0"));
    }
    sh(&ns, "ip route add 10.130.0.0/24 dev eth0 proto 119");
    sh(
        &ns,
        "ip -6 route add fd01:0:0:7::/64 dev eth0 proto 119 metric 7",
    );
    sh(&ns, "ip route replace 10.128.0.0/14 dev eth0 proto 119");
    let report = synced(&ns, &dual(), &[]);
    assert_eq!(report.writes, 3, "{:?}", report.done);
    for foreign in ["198.51.100.0/24", "10.129.0.0/24", "fd01:0:0:9::/64"] {
        assert!(route(&ns, foreign).contains("eth0"), "{foreign}");
    }
    assert_eq!(route(&ns, "10.130.0.0/24"), "");
    assert_eq!(route(&ns, "fd01:0:0:7::/64"), "");
    assert!(route(&ns, "10.128.0.0/14").contains("weft0"));
}

#[test]
fn a_foreign_route_in_our_place_is_named_and_kept() {
    let ns = namespace();
    dummy(&ns, "eth0");
    sh(&ns, "ip route add 10.128.0.0/14 dev eth0");
    let error = sync(&ns, &ipv4(), &[]).unwrap_err().to_string();
    assert!(
        error.contains("10.128.0.0/14 dev weft0") && error.contains("remove it"),
        "{error}"
    );
    assert!(route(&ns, "10.128.0.0/14").contains("eth0"));
}
