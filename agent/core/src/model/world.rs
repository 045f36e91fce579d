//! The world and the changes that reach it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClusterNetwork, Endpoint, EndpointId, HostSubnet, LocalNode, Project};

/// Everything the agent believes from API objects, configuration and CNI requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// This node.
    pub node: LocalNode,
    /// ClusterNetwork `default`; `None` until a valid one was seen. The last valid one stays.
    pub network: Option<ClusterNetwork>,
    /// HostSubnets by node name, this node's among them.
    pub hosts: BTreeMap<String, HostSubnet>,
    /// Projects by name.
    pub projects: BTreeMap<String, Project>,
    /// Local endpoints.
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    /// Interface index of the overlay device; 0 while there is none.
    pub overlay_ifindex: u32,
}

/// One input event. `None` takes the object away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This node's addresses changed.
    Node(LocalNode),
    /// The overlay device was made, or made anew.
    Overlay(u32),
    /// ClusterNetwork `default`.
    Network(Option<ClusterNetwork>),
    /// A HostSubnet by name.
    Host(String, Option<HostSubnet>),
    /// A project by name.
    Project(String, Option<Project>),
    /// A local endpoint.
    Endpoint(EndpointId, Option<Endpoint>),
}

/// Something wrong with an object, shown by status until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about: `kind/name`, `kind/namespace/name`, or a file's path.
    pub object: String,
    /// What is wrong, what holds meanwhile and what to do.
    pub message: String,
}

impl World {
    /// A world with nothing but the node.
    pub fn new(node: LocalNode) -> Self {
        Self {
            node,
            network: None,
            hosts: BTreeMap::new(),
            projects: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            overlay_ifindex: 0,
        }
    }

    /// This node's own HostSubnet.
    pub fn own_host(&self) -> Option<&HostSubnet> {
        self.hosts.get(&self.node.name)
    }

    /// Takes a change in.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Node(node) => self.node = node,
            Change::Overlay(ifindex) => self.overlay_ifindex = ifindex,
            Change::Network(network) => self.network = network,
            Change::Host(name, host) => put(&mut self.hosts, name, host),
            Change::Project(name, project) => put(&mut self.projects, name, project),
            Change::Endpoint(id, endpoint) => put(&mut self.endpoints, id, endpoint),
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}
