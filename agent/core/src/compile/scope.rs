//! What a change touches.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::cluster;
use crate::model::{Change, Conflicts, DnsName, EndpointId, HostSubnet, Vnid, World};

/// The part of the world whose rows a change can alter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Any row.
    Everything,
    /// Some objects' rows.
    Part(Part),
}

/// Objects whose rows a change can alter. The node's own row is in every part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Endpoints.
    pub endpoints: BTreeSet<EndpointId>,
    /// Projects, with their policies.
    pub projects: BTreeSet<String>,
    /// Names that policies watch.
    pub names: BTreeSet<DnsName>,
    /// Nodes: their subnets, and themselves as peers.
    pub hosts: BTreeSet<String>,
    /// What addresses are, by prefix: few rows, all of them together.
    pub prefixes: bool,
    /// Name servers whose answers count.
    pub trusted: bool,
}

impl Scope {
    /// The scope of `change` to `world`, which has not taken it in yet.
    pub fn of(world: &World, change: &Change) -> Self {
        let mut part = Part::default();
        match change {
            Change::Project(name, project) => {
                part.projects.insert(name.clone());
                let old = world.projects.get(name).map(|old| old.vnid);
                for vnid in old.into_iter().chain(project.as_ref().map(|new| new.vnid)) {
                    part.take_joined(world, name, vnid);
                }
            }
            Change::Endpoint(id, new) => {
                part.endpoints.insert(id.clone());
                for endpoint in world.endpoints.get(id).into_iter().chain(new) {
                    part.projects.insert(endpoint.project.clone());
                    part.take_names(world, &endpoint.project);
                }
            }
            Change::EgressPolicy(project, _, new) => {
                part.projects.insert(project.clone());
                part.take_names(world, project);
                let new = new.iter().flat_map(|policy| policy.names());
                part.names.extend(new.map(|pattern| pattern.name().clone()));
                if let Some(own) = world.projects.get(project) {
                    part.take_all(world, own.vnid);
                }
            }
            Change::Resolved(pattern, _) => {
                let users = world.watchers(pattern).map(str::to_owned);
                part.projects.extend(users);
            }
            Change::HostSubnet(name, new) => part.take_host(world, name, new.as_ref()),
            // The node's row alone.
            Change::Overlay(_) => {}
            Change::EgressSettings(new) if new.conflicts == world.egress.conflicts => {
                part.trusted = true;
            }
            // Rare, and each can alter every row: modes, networks, node addresses, whose policies count.
            Change::Node(_) | Change::ClusterNetwork(_) | Change::EgressSettings(_) => {
                return Self::Everything;
            }
        }
        Self::Part(part)
    }
}

impl Part {
    /// Both parts.
    pub fn extend(&mut self, other: Self) {
        let Self {
            endpoints,
            projects,
            names,
            hosts,
            prefixes,
            trusted,
        } = other;
        self.endpoints.extend(endpoints);
        self.projects.extend(projects);
        self.names.extend(names);
        self.hosts.extend(hosts);
        self.prefixes |= prefixes;
        self.trusted |= trusted;
    }

    /// A node, and whoever claims the same rows: which of them has a row is decided among all of them.
    fn take_host(&mut self, world: &World, name: &str, new: Option<&HostSubnet>) {
        let old = world.hosts.get(name);
        self.hosts.insert(name.to_owned());
        for host in old.into_iter().chain(new) {
            let networks = host.subnets.iter().map(IpNet::network);
            let others = networks.flat_map(|network| world.nodes_with_subnet_at(network));
            let others = others.chain(world.nodes_at(host.ip));
            self.hosts.extend(others.map(str::to_owned));
        }
        self.prefixes = name == world.node.name || cluster::alters_prefixes(world, name, new);
    }

    /// The other projects of a network that a project leaves or joins: policies may begin or cease to count.
    fn take_joined(&mut self, world: &World, project: &str, vnid: Vnid) {
        if world.has_egress_policy(vnid) || world.egress_policies.contains_key(project) {
            self.take_all(world, vnid);
        }
    }

    /// Only projects with pods here have rows that depend on policies.
    fn take_all(&mut self, world: &World, vnid: Vnid) {
        if world.egress.conflicts == Conflicts::Drop && vnid != Vnid::GLOBAL {
            let members = world.local_members(vnid).into_iter();
            self.projects.extend(members.map(str::to_owned));
        }
    }

    fn take_names(&mut self, world: &World, project: &str) {
        let policies = world.egress_policies.get(project).into_iter().flatten();
        let patterns = policies.flat_map(|(_, policy)| policy.names());
        self.names.extend(patterns.map(|it| it.name().clone()));
    }
}
