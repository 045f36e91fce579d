//! Routes to pods.

use weft_agent::apply::host::{Host, HostError};

use crate::namespace::{dual, ipv4, namespace, sh};
use crate::network::{dummy, endpoint, route, sync, synced};

#[test]
fn endpoint_routes_come_and_go_one_by_one_and_in_a_pass() {
    let ns = namespace();
    for name in ["weftaaaaaaaaaa", "weftbbbbbbbbbb"] {
        dummy(&ns, name);
    }
    synced(&ns, &dual(), &[]);
    let a = endpoint("weftaaaaaaaaaa", "10.128.2.5/32", "10.128.2.1");
    let a6 = endpoint("weftaaaaaaaaaa", "fd01:0:0:2::5/128", "fd01:0:0:2::1");
    let b = endpoint("weftbbbbbbbbbb", "10.128.2.5/32", "10.128.2.1");
    let run = |work: &(dyn Fn(&mut Host) -> Result<(), HostError> + Sync)| {
        ns.run(|| work(&mut Host::open()?)).unwrap()
    };
    for route in [&a, &a6] {
        run(&|host| host.add_endpoint_route(route)).unwrap();
        run(&|host| host.add_endpoint_route(route)).unwrap();
    }
    assert_eq!(
        route(&ns, "10.128.2.5/32"),
        "10.128.2.5 dev weftaaaaaaaaaa proto 119 scope link src 10.128.2.1"
    );
    // The pass agrees with what was added one by one.
    assert_eq!(
        sync(&ns, &dual(), &[a.clone(), a6.clone()]).unwrap().writes,
        0
    );

    // The address goes to another pod; the late removal of the first one's route must not take the second's.
    run(&|host| host.add_endpoint_route(&b)).unwrap();
    assert!(route(&ns, "10.128.2.5/32").contains("weftbbbbbbbbbb"));
    run(&|host| host.remove_endpoint_route(&a)).unwrap();
    assert!(route(&ns, "10.128.2.5/32").contains("weftbbbbbbbbbb"));
    run(&|host| host.remove_endpoint_route(&b)).unwrap();
    run(&|host| host.remove_endpoint_route(&b)).unwrap();
    assert_eq!(route(&ns, "10.128.2.5/32"), "");
    assert!(!route(&ns, "fd01:0:0:2::5/128").is_empty());

    // A pass removes what is left of endpoints that are gone.
    assert_eq!(synced(&ns, &dual(), &[]).writes, 1);
    assert_eq!(route(&ns, "fd01:0:0:2::5/128"), "");
}

#[test]
fn an_endpoint_without_device_does_not_hold_up_the_others() {
    let ns = namespace();
    dummy(&ns, "weftbbbbbbbbbb");
    sh(&ns, "ip link set weftbbbbbbbbbb down");
    let gone = endpoint("weftaaaaaaaaaa", "10.128.2.5/32", "10.128.2.1");
    let there = endpoint("weftbbbbbbbbbb", "10.128.2.6/32", "10.128.2.1");
    let report = sync(&ns, &ipv4(), &[gone.clone(), there]).unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].0, gone);
    assert!(report.failed[0].1.to_string().contains("weftaaaaaaaaaa"));
    // The other one was down, and is up.
    assert!(route(&ns, "10.128.2.6/32").contains("weftbbbbbbbbbb"));
}
