use super::*;
use crate::compile::host::Sysctl;
use crate::host::{ROUTE_PROTOCOL, Vxlan};

fn overlay_plan() -> HostPlan {
    let gateway: IpAddr = "10.128.2.1".parse().unwrap();
    HostPlan {
        overlay: Overlay {
            name: "weft0".into(),
            mac: [2; 6],
            port: 4789,
            mtu: 1450,
        },
        addresses: vec![gateway],
        routes: vec![Route {
            destination: "10.128.0.0/14".parse().unwrap(),
            device: "weft0".into(),
            source: gateway,
        }],
        sysctls: vec![
            Sysctl {
                key: "net/ipv4/ip_forward".into(),
                value: "1",
                instead_of: None,
            },
            Sysctl {
                key: "net/ipv6/conf/eth0/accept_ra".into(),
                value: "2",
                instead_of: Some("1"),
            },
        ],
        firewall: vec![],
    }
}

fn pod_route() -> Route {
    Route {
        destination: "10.128.2.5/32".parse().unwrap(),
        device: "weftaaaaaaaaaa".into(),
        source: "10.128.2.1".parse().unwrap(),
    }
}

fn device(name: &str, index: u32) -> Device {
    Device {
        name: name.into(),
        index,
        mac: vec![2; 6],
        mtu: 1450,
        up: true,
        noarp: true,
        kind: "veth".into(),
        vxlan: None,
    }
}

fn installed(route: &Route, index: u32) -> InstalledRoute {
    InstalledRoute {
        destination: route.destination,
        device: Some(index),
        source: Some(route.source),
        gateway: None,
        metric: metric(&route.destination),
    }
}

/// The kernel after the plan and `pod_route` were carried out.
fn settled() -> HostState {
    let plan = overlay_plan();
    let mut state = HostState {
        addresses: vec!["10.128.2.1/32".parse().unwrap()],
        routes: vec![installed(&plan.routes[0], 4), installed(&pod_route(), 7)],
        ..HostState::default()
    };
    let vxlan = Some(Vxlan {
        external: true,
        learning: false,
        port: 4789,
    });
    for device in [
        Device {
            vxlan,
            ..device("weft0", 4)
        },
        device("weftaaaaaaaaaa", 7),
    ] {
        state.devices.insert(device.name.clone(), device);
    }
    state
        .sysctls
        .insert("net/ipv4/ip_forward".into(), "1".into());
    state
}

fn ops(state: &HostState) -> Vec<String> {
    let ops = diff(&overlay_plan(), &[pod_route()], state).unwrap();
    ops.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_differs() {
    assert_eq!(ops(&settled()), Vec::<String>::new());
}

#[test]
fn from_nothing_sources_come_before_the_routes_that_name_them() {
    let mut state = HostState::default();
    let pod = device("weftaaaaaaaaaa", 7);
    state.devices.insert(pod.name.clone(), pod);
    assert_eq!(
        ops(&state),
        [
            "create device weft0",
            "set net/ipv4/ip_forward to 1",
            "add address 10.128.2.1",
            "set up weft0",
            &format!("add route 10.128.0.0/14 dev weft0 src 10.128.2.1 proto {ROUTE_PROTOCOL}"),
            &format!(
                "add route 10.128.2.5/32 dev weftaaaaaaaaaa src 10.128.2.1 proto {ROUTE_PROTOCOL}"
            ),
        ]
    );
}

#[test]
fn an_old_gateway_leaves_after_the_routes_have_their_new_source() {
    let mut state = settled();
    state.addresses = vec!["10.128.8.1/32".parse().unwrap()];
    for route in &mut state.routes {
        route.source = Some("10.128.8.1".parse().unwrap());
    }
    let ops = ops(&state);
    assert_eq!(ops.first().unwrap(), "add address 10.128.2.1");
    assert_eq!(ops.last().unwrap(), "remove address 10.128.8.1/32");
    assert_eq!(
        ops.iter()
            .filter(|o| o.starts_with("replace route"))
            .count(),
        2
    );
}

#[test]
fn a_new_port_takes_the_device_and_everything_that_hangs_on_it() {
    let mut state = settled();
    let vxlan = state.devices.get_mut("weft0").unwrap().vxlan.as_mut();
    vxlan.unwrap().port = 4790;
    let ops = ops(&state);
    assert_eq!(ops[..2], ["delete device weft0", "create device weft0"]);
    assert!(ops.iter().any(|o| o == "add address 10.128.2.1"), "{ops:?}");
    // Its route went with the device; the pod's went with the gateway address, or lost its source.
    assert!(
        ops.iter().any(|o| o.starts_with("add route 10.128.0.0/14")),
        "{ops:?}"
    );
    assert!(
        ops.iter()
            .any(|o| o.starts_with("replace route 10.128.2.5/32")),
        "{ops:?}"
    );
}

#[test]
fn what_is_not_ours_stops_the_pass() {
    for (kind, vxlan, word) in [
        ("", None, "physical"),
        ("bridge", None, "of kind bridge"),
        (
            "vxlan",
            Some(Vxlan {
                external: false,
                learning: false,
                port: 4789,
            }),
            "fixed network number",
        ),
    ] {
        let mut state = settled();
        let device = state.devices.get_mut("weft0").unwrap();
        device.kind = kind.into();
        device.vxlan = vxlan;
        let error = diff(&overlay_plan(), &[], &state).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_setting_with_a_condition_is_written_over_that_value_only() {
    for (value, written) in [("0", false), ("1", true), ("2", false)] {
        let mut state = settled();
        let key = "net/ipv6/conf/eth0/accept_ra".to_owned();
        state.sysctls.insert(key, value.into());
        assert_eq!(!ops(&state).is_empty(), written, "accept_ra was {value}");
    }
}

#[test]
fn duplicates_of_other_metrics_and_strays_are_removed() {
    let mut state = settled();
    let mut twin = installed(&pod_route(), 7);
    twin.metric = 50;
    let mut stray = installed(&pod_route(), 7);
    stray.destination = "10.128.2.6/32".parse().unwrap();
    state.routes.extend([twin, stray]);
    assert_eq!(
        ops(&state),
        ["remove route 10.128.2.5/32", "remove route 10.128.2.6/32"]
    );
}
