//! What of the world is looked for by something else than its name, so that a change is not paid for by the size of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{DnsName, Endpoint, EndpointId, HostSubnet, NamePattern, Vnid, World};

type Projects = BTreeSet<String>;

/// Kept by [`World::take`], and nothing but a function of the rest of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Projects by network number.
    members: BTreeMap<Vnid, Projects>,
    /// Those of them that have an egress policy.
    with_policy: BTreeMap<Vnid, Projects>,
    /// Projects with pods on this node, and how many endpoints they have.
    local: BTreeMap<String, usize>,
    /// Projects by the names in their policies.
    name_users: BTreeMap<NamePattern, Projects>,
    /// Of those, the projects with pods on this node.
    watched: BTreeMap<NamePattern, Projects>,
    /// Projects with pods on this node and names in their policies.
    learning: Projects,
    /// Nodes by the network address of their subnets, those by family (whether IPv6) and length.
    subnets: BTreeMap<(bool, u8), BTreeMap<IpAddr, BTreeSet<String>>>,
    /// Nodes by underlay address.
    underlay: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl World {
    /// Projects with this network number.
    pub fn members(&self, vnid: Vnid) -> impl Iterator<Item = &str> + Clone {
        found(&self.index.members, &vnid)
    }

    /// Whether a project of the network has an egress policy.
    pub fn has_egress_policy(&self, vnid: Vnid) -> bool {
        self.index.with_policy.contains_key(&vnid)
    }

    /// Whether a project has pods on this node.
    pub fn is_local(&self, project: &str) -> bool {
        self.index.local.contains_key(project)
    }

    /// Projects with pods on this node.
    pub fn local_projects(&self) -> impl Iterator<Item = &str> {
        self.index.local.keys().map(String::as_str)
    }

    /// Those of them in this network. Costs what the smaller of both sets has.
    pub fn local_members(&self, vnid: Vnid) -> Vec<&str> {
        let Some(members) = self.index.members.get(&vnid) else {
            return Vec::new();
        };
        if members.len() <= self.index.local.len() {
            let names = members.iter().map(String::as_str);
            names.filter(|name| self.is_local(name)).collect()
        } else {
            let names = self.local_projects();
            names.filter(|name| members.contains(*name)).collect()
        }
    }

    /// How many of them have names in their policies.
    pub fn learning(&self) -> usize {
        self.index.learning.len()
    }

    /// The names in any policy.
    pub fn names(&self) -> impl Iterator<Item = &NamePattern> {
        self.index.name_users.keys()
    }

    /// Whether any policy has this name in it.
    pub fn is_named(&self, name: &NamePattern) -> bool {
        self.index.name_users.contains_key(name)
    }

    /// Whether any policy stands for a name.
    pub fn is_covered(&self, name: &DnsName) -> bool {
        let mut wildcards = name.parents().map(NamePattern::Below);
        self.is_named(&NamePattern::Exact(name.clone()))
            || wildcards.any(|wildcard| self.is_named(&wildcard))
    }

    /// The names in policies of projects with pods on this node.
    pub fn watched_names(&self) -> impl Iterator<Item = &NamePattern> {
        self.index.watched.keys()
    }

    /// Whether this name is one of them.
    pub fn is_watched(&self, name: &NamePattern) -> bool {
        self.index.watched.contains_key(name)
    }

    /// Projects with pods on this node that have a policy with this name in it.
    pub fn watchers(&self, name: &NamePattern) -> impl Iterator<Item = &str> + Clone {
        found(&self.index.watched, name)
    }

    /// Lengths of the subnets of nodes in a range, leaving one node out.
    pub fn subnet_lengths(&self, range: &IpNet, without: Option<&str>) -> BTreeSet<u8> {
        let all = self.index.subnets.iter();
        let fitting = all.filter(|((v6, length), _)| {
            *v6 == range.addr().is_ipv6() && *length >= range.prefix_len()
        });
        let has = |nodes: &BTreeMap<IpAddr, BTreeSet<String>>| {
            let mut inside = nodes.range(range.network()..=range.broadcast());
            inside.any(|(_, names)| names.iter().any(|name| Some(name.as_str()) != without))
        };
        fitting
            .filter(|(_, nodes)| has(nodes))
            .map(|((_, length), _)| *length)
            .collect()
    }

    /// Nodes with a subnet that begins at an address.
    pub fn nodes_with_subnet_at(&self, network: IpAddr) -> impl Iterator<Item = &str> {
        let all = self.index.subnets.values();
        all.flat_map(move |nodes| found(nodes, &network))
    }

    /// Nodes with an underlay address.
    pub fn nodes_at(&self, underlay: IpAddr) -> impl Iterator<Item = &str> {
        found(&self.index.underlay, &underlay)
    }

    /// Enters what is looked for by a node, or takes it out: before the node changes, and after.
    pub(super) fn index_host(&mut self, name: &str, present: bool) {
        let Some(HostSubnet { ip, subnets, .. }) = self.hosts.get(name) else {
            return;
        };
        set(&mut self.index.underlay, ip, name, present);
        for subnet in subnets {
            let length = (subnet.addr().is_ipv6(), subnet.prefix_len());
            let nodes = self.index.subnets.entry(length).or_default();
            set(nodes, &subnet.network(), name, present);
            if nodes.is_empty() {
                self.index.subnets.remove(&length);
            }
        }
    }

    /// The same of a project with its policies and its pods here.
    pub(super) fn index_project(&mut self, name: &str, present: bool) {
        let local = self.is_local(name);
        let index = &mut self.index;
        let policies = self.egress_policies.get(name);
        if let Some(project) = self.projects.get(name) {
            set(&mut index.members, &project.vnid, name, present);
            if policies.is_some() {
                set(&mut index.with_policy, &project.vnid, name, present);
            }
        }
        let policies = policies.into_iter().flatten();
        let mut patterns = policies.flat_map(|(_, policy)| policy.names()).peekable();
        if local && patterns.peek().is_some() {
            if present {
                index.learning.insert(name.to_owned());
            } else {
                index.learning.remove(name);
            }
        }
        for pattern in patterns {
            set(&mut index.name_users, pattern, name, present);
            if local {
                set(&mut index.watched, pattern, name, present);
            }
        }
    }

    /// Counts an endpoint that comes, or goes.
    pub(super) fn take_endpoint(&mut self, id: EndpointId, new: Option<Endpoint>) {
        let old = self.endpoints.remove(&id);
        let projects = old.iter().chain(&new).map(|it| it.project.clone());
        let projects: BTreeSet<String> = projects.collect();
        for project in &projects {
            self.index_project(project, false);
        }
        if let Some(Endpoint { project, .. }) = old
            && let Some(count) = self.index.local.get_mut(&project)
        {
            *count -= 1;
            if *count == 0 {
                self.index.local.remove(&project);
            }
        }
        if let Some(endpoint) = new {
            let count = self.index.local.entry(endpoint.project.clone());
            *count.or_default() += 1;
            self.endpoints.insert(id, endpoint);
        }
        for project in &projects {
            self.index_project(project, true);
        }
    }
}

fn found<'a, K: Ord>(
    index: &'a BTreeMap<K, BTreeSet<String>>,
    key: &K,
) -> impl Iterator<Item = &'a str> + Clone + use<'a, K> {
    let names = index.get(key).into_iter().flatten();
    names.map(String::as_str)
}

fn set<K: Ord + Clone>(
    index: &mut BTreeMap<K, BTreeSet<String>>,
    key: &K,
    name: &str,
    present: bool,
) {
    if present {
        let names = index.entry(key.clone()).or_default();
        names.insert(name.to_owned());
    } else if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}
