//! The world and the changes that reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::index::Index;
use super::{
    ClusterNetwork, EgressPolicy, EgressSettings, Endpoint, EndpointId, HostSubnet, LocalNode,
    NamePattern, Project,
};

/// Everything the agent believes from API objects, configuration and CNI requests.
///
/// Objects come and go by [`World::take`] alone, which keeps what is looked up in other ways than by name.
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
    /// Egress policies by project, then by name; no project has an empty map.
    pub egress_policies: BTreeMap<String, BTreeMap<String, Arc<EgressPolicy>>>,
    /// Addresses in force for the names of policies, as far as the node has resolved them itself.
    pub resolved: BTreeMap<NamePattern, BTreeSet<IpAddr>>,
    /// How the egress firewall works here.
    pub egress: EgressSettings,
    pub(super) index: Index,
}

/// One input event. `None` takes the object away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This node's addresses changed.
    Node(LocalNode),
    /// The overlay device was made, or made anew.
    Overlay(u32),
    /// ClusterNetwork `default`.
    ClusterNetwork(Option<ClusterNetwork>),
    /// A HostSubnet by name.
    HostSubnet(String, Option<HostSubnet>),
    /// A project by name.
    Project(String, Option<Project>),
    /// A local endpoint.
    Endpoint(EndpointId, Option<Endpoint>),
    /// An egress policy by project and name.
    EgressPolicy(String, String, Option<Arc<EgressPolicy>>),
    /// How the egress firewall works here.
    EgressSettings(EgressSettings),
    /// The addresses of a name; none take it away.
    Resolved(NamePattern, BTreeSet<IpAddr>),
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
            egress_policies: BTreeMap::new(),
            resolved: BTreeMap::new(),
            egress: EgressSettings::default(),
            index: Index::default(),
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
            Change::ClusterNetwork(network) => self.network = network,
            Change::HostSubnet(name, host) => self.take_host(&name, host),
            Change::Project(name, project) => self.take_project(&name, project),
            Change::Endpoint(id, endpoint) => self.take_endpoint(id, endpoint),
            Change::EgressPolicy(project, name, policy) => {
                self.take_egress_policy(&project, name, policy);
            }
            Change::EgressSettings(settings) => self.egress = settings,
            Change::Resolved(name, addresses) => {
                put(
                    &mut self.resolved,
                    name,
                    (!addresses.is_empty()).then_some(addresses),
                );
            }
        }
    }

    /// The change that takes another one back: what there is of its object now.
    #[must_use]
    pub fn undo(&self, change: &Change) -> Change {
        match change {
            Change::Node(_) => Change::Node(self.node.clone()),
            Change::Overlay(_) => Change::Overlay(self.overlay_ifindex),
            Change::ClusterNetwork(_) => Change::ClusterNetwork(self.network.clone()),
            Change::HostSubnet(name, _) => {
                Change::HostSubnet(name.clone(), self.hosts.get(name).cloned())
            }
            Change::Project(name, _) => {
                Change::Project(name.clone(), self.projects.get(name).cloned())
            }
            Change::Endpoint(id, _) => {
                Change::Endpoint(id.clone(), self.endpoints.get(id).cloned())
            }
            Change::EgressPolicy(project, name, _) => {
                let own = self.egress_policies.get(project);
                let policy = own.and_then(|own| own.get(name)).cloned();
                Change::EgressPolicy(project.clone(), name.clone(), policy)
            }
            Change::EgressSettings(_) => Change::EgressSettings(self.egress.clone()),
            Change::Resolved(name, _) => {
                let addresses = self.resolved.get(name).cloned();
                Change::Resolved(name.clone(), addresses.unwrap_or_default())
            }
        }
    }

    fn take_host(&mut self, name: &str, host: Option<HostSubnet>) {
        self.index_host(name, false);
        put(&mut self.hosts, name.to_owned(), host);
        self.index_host(name, true);
    }

    fn take_project(&mut self, name: &str, project: Option<Project>) {
        self.index_project(name, false);
        put(&mut self.projects, name.to_owned(), project);
        self.index_project(name, true);
    }

    fn take_egress_policy(
        &mut self,
        project: &str,
        name: String,
        policy: Option<Arc<EgressPolicy>>,
    ) {
        self.index_project(project, false);
        let mut policies = self.egress_policies.remove(project).unwrap_or_default();
        put(&mut policies, name, policy);
        let policies = (!policies.is_empty()).then_some(policies);
        put(&mut self.egress_policies, project.to_owned(), policies);
        self.index_project(project, true);
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
