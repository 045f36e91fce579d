//! Open connections: they outlive what DNS said when they began, but not a rule against their address.

use std::time::Duration;

use weft_lab::probe::Lookup;
use weft_wait::{SOON, eventually};

use crate::connection::Connection;
use crate::field::{ALLOW_DNS, DENY_ALL, DNS, Field, connects, ip, outside, outside6};

const NAME: [&str; 1] = ["Allow www.foo.com"];
/// A TTL of one second and the grace after it, and then some.
const FORGOTTEN: Duration = Duration::from_mins(1);

#[test]
fn a_connection_survives_its_address_dropping_out_of_dns() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let web = field.cluster.host_netns("web").unwrap();
    let lookup = Lookup::at(ip(DNS));
    field.apply("a", "names", &[&ALLOW_DNS, &NAME, &DENY_ALL]);
    field.closes(&pod, outside(1));
    let mut open = [false, true].map(|ipv6| {
        let address = if ipv6 { outside6() } else { outside(2) };
        field.set("www.foo.com", 1, &[address]);
        connects(&pod, lookup, "www.foo.com", ipv6);
        (address, Connection::open(&pod.netns, &web, address))
    });
    field.set("www.foo.com", 1, &[outside(3), outside6()]);
    // New connections are denied once the address is forgotten; those that are open go on.
    let forgotten = weft_wait::poll(FORGOTTEN, || {
        std::thread::sleep(Duration::from_millis(200));
        let denied = |address| {
            matches!(
                field.try_tcp(&pod, (address, crate::party::PORT).into()),
                crate::verdict::Verdict::Dropped(_)
            )
        };
        open.iter()
            .all(|(address, _)| denied(*address))
            .then_some(())
    });
    assert!(forgotten.is_some(), "not forgotten within {FORGOTTEN:?}");
    for (address, connection) in &mut open {
        assert!(connection.works(SOON), "{address}");
        field.denied(&pod, *address);
    }
    // Another version of the policy that still allows the name changes nothing for them.
    field.apply(
        "a",
        "names",
        &[&["Deny 198.51.100.9/32"], &ALLOW_DNS, &NAME, &DENY_ALL],
    );
    field.closes(&pod, ip("198.51.100.9"));
    for (address, connection) in &mut open {
        assert!(connection.works(SOON), "{address}");
    }
}

#[test]
fn a_connection_is_cut_at_once_when_its_address_is_denied() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let web = field.cluster.host_netns("web").unwrap();
    field.apply(
        "a",
        "names",
        &[&ALLOW_DNS, &NAME, &["Allow 198.51.100.0/24"], &DENY_ALL],
    );
    field.closes(&pod, outside(1));
    let [named, near, stays] = [outside(2), ip("198.51.100.7"), ip("198.51.100.8")];
    field.set("www.foo.com", 60, &[named]);
    connects(&pod, Lookup::at(ip(DNS)), "www.foo.com", false);
    let mut connections =
        [named, near, stays].map(|address| Connection::open(&pod.netns, &web, address));
    assert!(connections.iter_mut().all(|it| it.works(SOON)));

    let deny = ["Deny 203.0.113.130/32", "Deny 198.51.100.7/32"];
    field.apply(
        "a",
        "names",
        &[
            &deny,
            &ALLOW_DNS,
            &NAME,
            &["Allow 198.51.100.0/24"],
            &DENY_ALL,
        ],
    );
    let [named, near, stays] = &mut connections;
    for connection in [named, near] {
        let took = eventually("the connection is cut", || {
            !connection.works(Duration::from_millis(30))
        });
        println!("cut after {took:?}");
        let dropped = field.cluster.pod_count("node1", "a/p", "EgressDenied");
        assert!(dropped > 0);
        assert!(
            !connection.works(Duration::from_millis(300)),
            "it came back"
        );
    }
    assert!(stays.works(SOON), "another connection");
    // Without the rules against them, they go on where they were.
    field.apply(
        "a",
        "names",
        &[&ALLOW_DNS, &NAME, &["Allow 198.51.100.0/24"], &DENY_ALL],
    );
    field.opens(&pod, ip("198.51.100.7"));
    assert!(stays.works(SOON));
}
