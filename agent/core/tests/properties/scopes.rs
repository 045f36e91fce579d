//! A change costs what it touches: its scope has rows of its own only, however large the cluster is.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use weft_core::compile::egress::Memo;
use weft_core::compile::{Part, Scope, Tables, compile, compile_scope};
use weft_core::model::{
    Action, Change, ClusterNetwork, Destination, EgressPolicy, EgressRule, Endpoint, EndpointId,
    HostSubnet, LocalNode, Mode, NamePattern, NetworkEntry, World,
};

use crate::worlds::project;

fn address(base: u32, n: usize) -> Ipv4Addr {
    Ipv4Addr::from(base + u32::try_from(n).unwrap())
}

fn host(n: usize, len: u8) -> Change {
    let name = format!("node{n}");
    let subnet = IpNet::new(address(0x0a00_0000, n << 9).into(), len).unwrap();
    let host = HostSubnet {
        name: name.clone(),
        ip: address(0xc0a8_0001, n).into(),
        subnets: vec![subnet],
    };
    Change::HostSubnet(name, Some(host))
}

fn renumbered(n: usize, vnid: usize) -> Change {
    let name = format!("project{n}");
    let project = project(&name, u32::try_from(vnid).unwrap());
    Change::Project(name, Some(project))
}

fn policy(n: usize, to: u8) -> Change {
    let project = format!("project{n}");
    let rule = |to| EgressRule {
        action: Action::Allow,
        to,
        ports: Vec::new(),
    };
    let rules = vec![
        rule(Destination::Cidr(IpNet::from(IpAddr::from([8, 8, 8, to])))),
        rule(Destination::Name(NamePattern::Exact(
            "www.example.com".parse().unwrap(),
        ))),
    ];
    let policy = EgressPolicy::new(&project, rules);
    Change::EgressPolicy(project, "default".into(), Some(policy))
}

fn pod(n: usize) -> Change {
    let id = EndpointId {
        container: n.to_string(),
        ifname: "eth0".into(),
    };
    let endpoint = Endpoint {
        id: id.clone(),
        project: format!("project{n}"),
        pod: format!("pod{n}"),
        addresses: vec![address(0x0a00_0002, n).into()],
        mac: [0; 6],
        host_ifname: format!("weft{n}"),
        host_ifindex: 100 + u32::try_from(n).unwrap(),
    };
    Change::Endpoint(id, Some(endpoint))
}

/// A cluster of so many nodes and projects, each with a policy; ten projects have a pod here.
fn world(size: usize) -> World {
    let mut world = World::new(LocalNode {
        name: "node0".into(),
        ip: address(0xc0a8_0001, 0).into(),
        addresses: vec![address(0xc0a8_0001, 0).into()],
    });
    world.take(Change::ClusterNetwork(Some(ClusterNetwork {
        mode: Mode::Multitenant,
        networks: vec![NetworkEntry {
            cidr: "10.0.0.0/8".parse().unwrap(),
            host_bits: 9,
        }],
        services: vec![],
        vxlan_port: 4789,
        mtu: 1450,
    })));
    for n in 0..size {
        world.take(host(n, 23));
        world.take(renumbered(n, 10 + n));
        world.take(policy(n, 1));
    }
    (0..10).for_each(|n| world.take(pod(n)));
    world
}

/// Rows of the tables.
fn rows(tables: &Tables) -> usize {
    tables.sizes().iter().map(|(_, rows, _)| rows).sum()
}

/// Rows that are compiled for a change, before and after it.
fn compiled(world: &World, change: &Change) -> usize {
    let (memo, scope) = (Memo::default(), Scope::of(world, change));
    let before = rows(&compile_scope(world, &scope, &memo));
    let mut after = world.clone();
    after.take(change.clone());
    before + rows(&compile_scope(&after, &scope, &memo))
}

#[test]
fn a_change_compiles_as_many_rows_in_a_large_cluster_as_in_a_small_one() {
    let (small, large) = (world(50), world(1_000));
    assert!(rows(&compile(&large)) > 10 * rows(&compile(&small)));
    let changes = [
        ("a node added", host(5_000, 23)),
        ("a node removed", Change::HostSubnet("node7".into(), None)),
        (
            "a project renumbered, without pods here",
            renumbered(20, 5_000),
        ),
        (
            "a project renumbered, with a pod here",
            renumbered(5, 5_000),
        ),
        ("a project joined with another one", renumbered(5, 16)),
        ("a policy edited, without pods here", policy(20, 2)),
        ("a policy edited, with a pod here", policy(5, 2)),
        ("a pod added", pod(11)),
        ("the overlay device made anew", Change::Overlay(77)),
        (
            "a name resolved that every project allows",
            Change::Resolved(
                NamePattern::Exact("www.example.com".parse().unwrap()),
                [IpAddr::from([198, 51, 100, 1])].into(),
            ),
        ),
    ];
    for (what, change) in changes {
        let rows = compiled(&small, &change);
        assert_eq!(compiled(&large, &change), rows, "{what}");
        // Ten projects with pods share the name of the last change, a handful of rows each.
        assert!(rows <= 200, "{what}: {rows} rows");
    }
}

/// Which lengths there are is a matter of all nodes: the first of a length and the last change the range's own row.
#[test]
fn the_first_and_the_last_subnet_of_a_length_alter_the_ranges_prefix() {
    let mut world = world(50);
    let part = |world: &World, change: &Change| match Scope::of(world, change) {
        Scope::Part(part) => part,
        Scope::Everything => panic!("everything for {change:?}"),
    };
    let hosts = |name: &str| Part {
        hosts: [name.to_owned()].into(),
        ..Part::default()
    };
    let with_prefixes = |name: &str| Part {
        prefixes: true,
        ..hosts(name)
    };
    let gone = |n: usize| Change::HostSubnet(format!("node{n}"), None);
    assert_eq!(part(&world, &host(60, 23)), hosts("node60"));
    assert_eq!(part(&world, &host(60, 25)), with_prefixes("node60"));
    world.take(host(60, 25));
    assert_eq!(part(&world, &host(61, 25)), hosts("node61"), "the second");
    world.take(host(61, 25));
    assert_eq!(part(&world, &gone(60)), hosts("node60"), "not the last");
    world.take(gone(60));
    assert_eq!(part(&world, &gone(61)), with_prefixes("node61"));
    assert_eq!(
        part(&world, &host(0, 23)),
        with_prefixes("node0"),
        "this node"
    );
}

/// Two nodes that claim one row never come out of ingest, and yet the one that is left has its row.
#[test]
fn a_node_that_goes_leaves_the_rows_that_another_one_claims_too() {
    let mut world = world(5);
    let Change::HostSubnet(_, Some(first)) = host(4, 23) else {
        unreachable!("a HostSubnet")
    };
    let name = "other".to_owned();
    let second = HostSubnet {
        name: name.clone(),
        ..first
    };
    let mut tables = compile(&world);
    for change in [
        Change::HostSubnet(name.clone(), Some(second)),
        Change::HostSubnet("node4".into(), None),
        host(4, 23),
        Change::HostSubnet(name, None),
    ] {
        crate::incremental::change(&mut world, &mut tables, &Memo::default(), change);
        assert_eq!(tables, compile(&world));
    }
}
