//! What a change touches.

use std::collections::BTreeSet;

use crate::model::{Change, Conflicts, DnsName, EndpointId, NamePattern, Vnid, World};

/// The part of the world whose rows a change can alter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Any row.
    Everything,
    /// Some objects' rows.
    Part(Part),
}

/// Objects whose rows a change can alter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// An endpoint.
    pub endpoint: Option<EndpointId>,
    /// Projects, with their policies.
    pub projects: BTreeSet<String>,
    /// Names that policies watch.
    pub names: BTreeSet<DnsName>,
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
                part.endpoint = Some(id.clone());
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
            Change::Resolved(pattern, _) => part.take_users(world, pattern),
            // Rare, and each can alter every row: modes, networks, node addresses, settings.
            Change::Node(_)
            | Change::Overlay(_)
            | Change::ClusterNetwork(_)
            | Change::HostSubnet(..)
            | Change::EgressSettings(_) => return Self::Everything,
        }
        Self::Part(part)
    }
}

impl Part {
    /// Both parts.
    pub fn extend(&mut self, other: Self) {
        let Self {
            endpoint,
            projects,
            names,
        } = other;
        self.endpoint = self.endpoint.take().or(endpoint);
        self.projects.extend(projects);
        self.names.extend(names);
    }

    /// The other projects of a network that a project leaves or joins: policies may begin or cease to count.
    fn take_joined(&mut self, world: &World, project: &str, vnid: Vnid) {
        let mut all = world.members(vnid).chain([project]);
        if all.any(|name| world.egress_policies.contains_key(name)) {
            self.take_all(world, vnid);
        }
    }

    fn take_all(&mut self, world: &World, vnid: Vnid) {
        if world.egress.conflicts == Conflicts::Drop && vnid != Vnid::GLOBAL {
            self.projects.extend(world.members(vnid).map(str::to_owned));
        }
    }

    fn take_names(&mut self, world: &World, project: &str) {
        let policies = world.egress_policies.get(project).into_iter().flatten();
        let patterns = policies.flat_map(|(_, policy)| policy.names());
        self.names.extend(patterns.map(|it| it.name().clone()));
    }

    fn take_users(&mut self, world: &World, pattern: &NamePattern) {
        let users = world.name_users(pattern).map(str::to_owned);
        self.projects.extend(users);
    }
}
