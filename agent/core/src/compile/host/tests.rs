use super::*;
use crate::model::{EndpointId, Mode, NetworkEntry};

pub(crate) fn cluster(networks: &[&str]) -> ClusterNetwork {
    ClusterNetwork {
        mode: Mode::Multitenant,
        networks: networks
            .iter()
            .map(|n| NetworkEntry {
                cidr: n.parse().unwrap(),
                host_bits: 9,
            })
            .collect(),
        services: vec!["172.30.0.0/16".parse().unwrap()],
        vxlan_port: 4789,
        mtu: 1450,
    }
}

fn node() -> LocalNode {
    LocalNode {
        name: "node1".into(),
        ip: "192.168.50.11".parse().unwrap(),
        addresses: vec!["192.168.50.11".parse().unwrap()],
    }
}

fn host(subnets: &[&str]) -> HostSubnet {
    HostSubnet {
        name: "node1".into(),
        ip: "192.168.50.11".parse().unwrap(),
        subnets: subnets.iter().map(|s| s.parse().unwrap()).collect(),
    }
}

fn keys(plan: &HostPlan) -> Vec<&str> {
    plan.sysctls.iter().map(|s| s.key.as_str()).collect()
}

#[test]
fn an_ipv4_cluster_routes_every_network_into_the_overlay_and_leaves_ipv6_alone() {
    let plan = host_plan(
        &cluster(&["10.128.0.0/14", "10.200.0.0/16"]),
        &host(&["10.128.2.0/23"]),
        &node(),
        "eth0",
    );
    let routes: Vec<_> = plan.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            "10.128.0.0/14 dev weft0 src 10.128.2.1 proto 119",
            "10.200.0.0/16 dev weft0 src 10.128.2.1 proto 119"
        ]
    );
    assert_eq!(plan.addresses, ["10.128.2.1".parse::<IpAddr>().unwrap()]);
    assert!(keys(&plan).iter().all(|k| !k.contains("ipv6")), "{plan:?}");
    assert_eq!(plan.firewall.len(), 1);
}

#[test]
fn ipv6_forwarding_comes_after_accept_ra_or_the_default_route_would_expire() {
    let plan = host_plan(
        &cluster(&["10.128.0.0/14", "fd01::/48"]),
        &host(&["10.128.2.0/23", "fd01:0:0:2::/64"]),
        &node(),
        "eth0.100",
    );
    let keys = keys(&plan);
    let ra = keys
        .iter()
        .position(|k| *k == "net/ipv6/conf/eth0.100/accept_ra");
    let forwarding = keys
        .iter()
        .position(|k| *k == "net/ipv6/conf/all/forwarding");
    assert!(ra.is_some() && ra < forwarding, "{keys:?}");
    assert_eq!(
        plan.routes[1].to_string(),
        "fd01::/48 dev weft0 src fd01:0:0:2::1 proto 119"
    );
    assert_eq!(plan.firewall.len(), 2);
}

#[test]
fn a_family_without_a_subnet_on_this_node_gets_no_route() {
    let plan = host_plan(
        &cluster(&["10.128.0.0/14", "fd01::/48"]),
        &host(&["10.128.2.0/23"]),
        &node(),
        "eth0",
    );
    assert_eq!(plan.routes.len(), 1);
}

#[test]
fn an_endpoint_is_routed_by_family() {
    let endpoint = Endpoint {
        id: EndpointId {
            container: "c".into(),
            ifname: "eth0".into(),
        },
        project: "a".into(),
        pod: "p".into(),
        addresses: vec![
            "10.128.2.5".parse().unwrap(),
            "fd01:0:0:2::5".parse().unwrap(),
        ],
        mac: [2; 6],
        host_ifname: "weft0123456789".into(),
        host_ifindex: 7,
    };
    let routes = |gateways: &[&str]| -> Vec<String> {
        let gateways: Vec<IpAddr> = gateways.iter().map(|g| g.parse().unwrap()).collect();
        endpoint_routes(&endpoint, &gateways)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        routes(&["10.128.2.1", "fd01:0:0:2::1"]),
        [
            "10.128.2.5/32 dev weft0123456789 src 10.128.2.1 proto 119",
            "fd01:0:0:2::5/128 dev weft0123456789 src fd01:0:0:2::1 proto 119"
        ]
    );
    assert_eq!(routes(&["10.128.2.1"]).len(), 1);
}
