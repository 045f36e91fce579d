//! HostSubnets that contradict each other.

use std::sync::Arc;

use proptest::prelude::*;
use weft_core::model::{Change, HostSubnet, Kind, ObjectRef};

use super::super::fields::overlap;
use super::super::hosts::{Hosts, settle};
use super::{host, network};
use crate::ingest::Intake;
use crate::store::Delta;

/// `name=address/third octet of 10.128.N.0/24`
fn hosts(text: &str) -> Hosts {
    let one = |word: &str| {
        let (name, rest) = word.split_once('=').unwrap();
        let (ip, subnet) = rest.split_once('/').unwrap();
        let host = HostSubnet {
            name: name.into(),
            ip: format!("192.0.2.{ip}").parse().unwrap(),
            subnets: vec![format!("10.128.{subnet}.0/24").parse().unwrap()],
        };
        (name.to_owned(), host)
    };
    text.split_whitespace().map(one).collect()
}

#[test]
fn the_incumbent_stays() {
    let cases = [
        (
            "nothing contradicts",
            "a=1/1",
            "a=1/1 b=2/2",
            "a=1/1 b=2/2",
            "",
        ),
        (
            "cold start: first by name",
            "",
            "a=1/1 b=1/2 c=2/1",
            "a=1/1",
            "b c",
        ),
        (
            "newcomer with the address of one in force",
            "b=1/1",
            "a=1/2 b=1/1",
            "b=1/1",
            "a",
        ),
        (
            "newcomer with its subnet",
            "b=1/1",
            "a=2/1 b=1/1",
            "b=1/1",
            "a",
        ),
        (
            "a change into another's address is undone",
            "a=1/1 b=2/2",
            "a=2/1 b=2/2",
            "a=1/1 b=2/2",
            "a",
        ),
        (
            "two nodes swap addresses",
            "a=1/1 b=2/2",
            "a=2/1 b=1/2",
            "a=2/1 b=1/2",
            "",
        ),
        (
            "an address moves on",
            "a=1/1 b=2/2",
            "a=2/1 b=3/2",
            "a=2/1 b=3/2",
            "",
        ),
        ("an address is inherited", "a=1/1", "b=1/1", "b=1/1", ""),
        (
            "who falls back keeps its own against a newcomer",
            "a=1/1 b=2/2",
            "a=2/1 b=2/2 c=1/3",
            "a=1/1 b=2/2",
            "a c",
        ),
        (
            "both change to the same: first by name",
            "a=1/1 b=2/2",
            "a=3/1 b=3/2",
            "a=3/1 b=2/2",
            "b",
        ),
        (
            "a changed incumbent before a newcomer",
            "b=1/1",
            "a=3/3 b=3/1",
            "b=3/1",
            "a",
        ),
        (
            "a refused one refuses nobody",
            "",
            "a=1/1 b=1/2 c=3/2",
            "a=1/1 c=3/2",
            "b",
        ),
    ];
    for (what, before, wanted, after, refused) in cases {
        let settled = settle(&hosts(before), hosts(wanted));
        assert_eq!(settled.hosts, hosts(after), "{what}");
        let names: Vec<&str> = settled.refused.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            refused.split_whitespace().collect::<Vec<_>>(),
            "{what}"
        );
    }
}

#[test]
fn a_refusal_names_the_other() {
    let settled = settle(&hosts("b=1/1"), hosts("a=1/2 b=1/1 c=3/1"));
    assert_eq!(
        settled.refused["a"],
        "hostIP: 192.0.2.1 is that of HostSubnet/b"
    );
    let overlaps = "subnet: 10.128.1.0/24 overlaps 10.128.1.0/24 of HostSubnet/b";
    assert_eq!(settled.refused["c"], overlaps);
}

#[test]
fn subnets_of_different_length_overlap() {
    let mut wanted = hosts("a=1/0 b=2/9 c=3/200");
    wanted.get_mut("a").unwrap().subnets = vec!["10.128.0.0/16".parse().unwrap()];
    let settled = settle(&Hosts::new(), wanted);
    let refused: Vec<&String> = settled.refused.keys().collect();
    assert_eq!(refused, ["b", "c"]);
}

fn any_hosts() -> impl Strategy<Value = Hosts> {
    let host = (0u8..6, 1u8..6, 0u8..6, 22u8..=24);
    prop::collection::vec(host, 0..8).prop_map(|all| {
        let make = |(name, ip, third, length): (u8, u8, u8, u8)| {
            let subnet: ipnet::IpNet = format!("10.128.{third}.0/{length}").parse().unwrap();
            let host = HostSubnet {
                name: format!("n{name}"),
                ip: [192, 0, 2, ip].into(),
                subnets: vec![subnet.trunc()],
            };
            (host.name.clone(), host)
        };
        all.into_iter().map(make).collect()
    })
}

proptest! {
    #[test]
    fn what_is_in_force_is_consistent_and_no_incumbent_vanishes(
        first in any_hosts(), second in any_hosts(), third in any_hosts(),
    ) {
        let mut in_force = Hosts::new();
        for wanted in [first, second, third] {
            let settled = settle(&in_force, wanted.clone());
            for (name, host) in &settled.hosts {
                for (other, its) in &settled.hosts {
                    let clash = host.ip == its.ip || overlap(&host.subnets[0], &its.subnets[0]);
                    prop_assert!(name == other || !clash);
                }
            }
            for (name, host) in &wanted {
                let got = settled.hosts.get(name);
                prop_assert!(got.is_some() || !in_force.contains_key(name));
                prop_assert_eq!(got != Some(host), settled.refused.contains_key(name));
            }
            in_force = settled.hosts;
        }
    }

    /// Some hosts at a time come to what all of them together come to.
    #[test]
    fn some_hosts_at_a_time_are_decided_like_all_together(
        steps in prop::collection::vec(
            prop::collection::vec((0u8..6, prop::option::weighted(0.8, (1u8..6, 0u8..6, 22u8..=25))), 1..3),
            1..12,
        ),
    ) {
        let mut few = Intake::default();
        let mut all = Intake::default();
        let known = Delta::Put(Arc::new(network()));
        few.take(vec![known.clone()]);
        for step in steps {
            let deltas = step.into_iter().map(|(name, version)| match version {
                // Outside of the network the object is invalid.
                Some((ip, third, length)) => {
                    let network = if length == 25 { "10.200" } else { "10.128" };
                    let subnet: ipnet::IpNet = format!("{network}.{third}.0/{length}").parse().unwrap();
                    Delta::Put(Arc::new(host(&format!("n{name}"), &format!("192.0.2.{ip}"), &subnet.trunc().to_string())))
                }
                None => Delta::Gone(ObjectRef::cluster(Kind::HostSubnet, format!("n{name}"))),
            });
            let mut deltas: Vec<Delta> = deltas.collect();
            let changes = few.take(deltas.clone());
            // A ClusterNetwork among the objects has everything decided anew.
            deltas.push(known.clone());
            let mut expected = all.take(deltas);
            expected.retain(|change| !matches!(change, Change::ClusterNetwork(_)));
            prop_assert_eq!(changes, expected);
            prop_assert_eq!(few.problems(), all.problems());
        }
    }
}
