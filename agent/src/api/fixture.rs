//! A small world for tests.

use std::net::IpAddr;

use weft_core::model::{
    Change, ClusterNetwork, Endpoint, EndpointId, LocalNode, Mode, Project, Vnid, World,
};

/// One node with a pod of shop (interface 7) and one of bank (interface 8), and the project away.
pub fn world() -> World {
    let ip = IpAddr::from([192, 0, 2, 1]);
    let mut world = World::new(LocalNode {
        name: "node1".into(),
        ip,
        addresses: vec![ip],
    });
    world.take(Change::ClusterNetwork(Some(ClusterNetwork {
        mode: Mode::Multitenant,
        networks: Vec::new(),
        services: Vec::new(),
        vxlan_port: 4789,
        mtu: 1450,
    })));
    for (name, vnid) in [("shop", 10), ("bank", 11), ("away", 12)] {
        project(&mut world, name, vnid);
    }
    for (index, name) in [(7, "shop"), (8, "bank")] {
        let id = EndpointId {
            container: name.into(),
            ifname: "eth0".into(),
        };
        let endpoint = Endpoint {
            id: id.clone(),
            project: name.into(),
            pod: "a".into(),
            addresses: Vec::new(),
            mac: [0; 6],
            host_ifname: name.into(),
            host_ifindex: index,
        };
        world.take(Change::Endpoint(id, Some(endpoint)));
    }
    world
}

/// Gives a project a network.
pub fn project(world: &mut World, name: &str, vnid: u64) {
    let project = Project {
        name: name.into(),
        vnid: Vnid::new(vnid).unwrap(),
    };
    world.take(Change::Project(name.into(), Some(project)));
}
