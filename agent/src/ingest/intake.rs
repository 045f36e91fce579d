//! All objects of a store, and what of them is in force.

mod few_hosts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_core::model::{
    Change, ClusterNetwork, EgressPolicy, HostSubnet, Kind, ObjectRef, Problem, Project,
    sort_problems,
};

use super::fault::{Fault, Wrong};
use super::fields::{API_VERSION, Invalid, Valid};
use super::hosts::{Claims, Hosts, settle};
use super::{cluster_network, egress_network_policy, fits, host_subnet, net_namespace};
use crate::store::{Delta, Object};

/// Turns objects into changes of the model. Pure.
///
/// Nothing that worked stops working: an object whose new version is invalid stays in force as it was. An object that
/// was never valid is as if it did not exist, and its project or node stays closed.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    network: Network,
    /// The latest version of each HostSubnet.
    host_candidates: BTreeMap<String, Result<Valid<HostSubnet>, Invalid>>,
    hosts: Hosts,
    /// What the hosts in force hold.
    claims: Claims,
    projects: BTreeMap<String, Project>,
    egress_policies: BTreeMap<ObjectRef, Arc<EgressPolicy>>,
    /// What is wrong with objects.
    wrong: BTreeMap<ObjectRef, Wrong>,
    store_problems: Vec<Problem>,
}

#[derive(Clone, Debug, Default)]
struct Network {
    /// The latest version of ClusterNetwork `default`.
    candidate: Option<Result<ClusterNetwork, Invalid>>,
    in_force: Option<ClusterNetwork>,
}

impl Intake {
    /// Takes objects in and answers the real differences: the network first, then hosts, policies and projects. A project that
    /// gets its network and its policy together is never without the policy.
    pub fn take(&mut self, deltas: Vec<Delta>) -> Vec<Change> {
        let mut projects = Vec::new();
        let mut policies = Vec::new();
        let mut resettle = false;
        let mut hosts = BTreeSet::new();
        for delta in deltas {
            let (key, object) = match delta {
                Delta::Put(object) => (object.key.clone(), Some(object)),
                Delta::Gone(key) => (key, None),
            };
            let object = object.as_deref();
            match key.kind {
                Kind::ClusterNetwork if key == ObjectRef::cluster_network() => {
                    self.network.candidate = object.map(cluster_network);
                    resettle = true;
                }
                Kind::HostSubnet if key.namespace.is_empty() => {
                    hosts.insert(key.name.clone());
                    match object {
                        Some(object) => {
                            let candidate = host_subnet(object);
                            self.host_candidates.insert(key.name, candidate);
                        }
                        None => drop(self.host_candidates.remove(&key.name)),
                    }
                }
                Kind::NetNamespace if key.namespace.is_empty() => {
                    projects.extend(self.take_project(key, object));
                }
                Kind::EgressNetworkPolicy if !key.namespace.is_empty() => {
                    policies.extend(self.take_egress_policy(key, object));
                }
                Kind::ClusterNetwork
                | Kind::HostSubnet
                | Kind::NetNamespace
                | Kind::EgressNetworkPolicy
                | Kind::Node
                | Kind::Namespace
                | Kind::Pod
                | Kind::Lease
                | Kind::Event
                | Kind::Other(_) => self.note(key, object),
            }
        }
        let settled = match (resettle, hosts.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Vec::new()),
            (false, false) => self.settle_few(&hosts),
        };
        let mut changes = settled.unwrap_or_else(|| self.settle());
        changes.extend(policies);
        changes.extend(projects);
        changes
    }

    /// Replaces what is wrong in the store itself.
    pub fn take_store_problems(&mut self, problems: Vec<Problem>) {
        self.store_problems = problems;
    }

    /// Everything that is wrong, in the order of what it is about.
    pub fn problems(&self) -> Vec<Problem> {
        let objects = self.wrong.iter();
        let mut problems: Vec<Problem> = objects
            .map(|(object, wrong)| Problem::with(object, wrong.message.as_str()))
            .chain(self.store_problems.iter().cloned())
            .collect();
        sort_problems(&mut problems);
        problems
    }

    /// What is wrong with an object, if something is.
    pub fn wrong(&self, object: &ObjectRef) -> Option<&Wrong> {
        self.wrong.get(object)
    }

    /// The network in force.
    pub const fn network(&self) -> Option<&ClusterNetwork> {
        self.network.in_force.as_ref()
    }

    fn judged(&mut self, object: ObjectRef, wrong: Option<Wrong>) {
        match wrong {
            Some(wrong) => drop(self.wrong.insert(object, wrong)),
            None => drop(self.wrong.remove(&object)),
        }
    }

    fn take_project(&mut self, key: ObjectRef, object: Option<&Object>) -> Option<Change> {
        let name = key.name.clone();
        let Some(object) = object else {
            self.wrong.remove(&key);
            return self
                .projects
                .remove(&name)
                .map(|_| Change::Project(name, None));
        };
        let (project, problem) = match net_namespace(object) {
            Ok(Valid { value, warning }) => (Some(value), warning.map(|w| partly(&w))),
            Err(error) => {
                let meanwhile = match self.projects.get(&name) {
                    Some(old) => format!("VNID {} as before stays in force: mend it", old.vnid),
                    None => "the project stays closed until it is mended".into(),
                };
                let message = format!("{error}; {meanwhile}");
                (None, Some(Fault::Invalid.with(message)))
            }
        };
        self.judged(key, problem);
        let project = project?;
        let old = self.projects.insert(name.clone(), project.clone());
        (old.as_ref() != Some(&project)).then_some(Change::Project(name, Some(project)))
    }

    /// An invalid policy is one that closes its project: what its author wants is not known, but it is not nothing.
    fn take_egress_policy(&mut self, key: ObjectRef, object: Option<&Object>) -> Option<Change> {
        let (project, name) = (key.namespace.clone(), key.name.clone());
        let Some(object) = object else {
            self.wrong.remove(&key);
            return self
                .egress_policies
                .remove(&key)
                .map(|_| Change::EgressPolicy(project, name, None));
        };
        let Valid { value, warning } = egress_network_policy(object);
        let problem = match &value.rules {
            Ok(_) => warning.map(|warning| Fault::Partly.with(warning)),
            Err(reason) => Some(Fault::Invalid.with(format!(
                "{reason}; nothing of the project leaves the cluster until it is mended"
            ))),
        };
        self.judged(key.clone(), problem);
        let old = self.egress_policies.insert(key, Arc::clone(&value));
        (old.as_ref() != Some(&value)).then_some(Change::EgressPolicy(project, name, Some(value)))
    }

    /// Objects that nothing is made of, but that look as if somebody expected something.
    fn note(&mut self, key: ObjectRef, object: Option<&Object>) {
        let ours = object.is_some_and(|o| o.api_version == API_VERSION);
        let reason = match &key.kind {
            Kind::EgressNetworkPolicy => Some("metadata.namespace: is missing".to_owned()),
            Kind::HostSubnet | Kind::NetNamespace => {
                Some("metadata.namespace: leave it out".to_owned())
            }
            Kind::ClusterNetwork => Some("only the one called \"default\" counts".to_owned()),
            Kind::Node
            | Kind::Namespace
            | Kind::Pod
            | Kind::Lease
            | Kind::Event
            | Kind::Other(_) => ours.then(|| {
                let known: Vec<_> = Kind::ALL.iter().filter(|it| it.is_ours()).collect();
                let known: Vec<_> = known.into_iter().map(Kind::as_str).collect();
                let (kind, known) = (key.kind.as_str(), known.join(", "));
                format!("{API_VERSION} has no kind {kind:?}: it has {known}")
            }),
        };
        let reason = object.and(reason);
        let wrong = reason.map(|it| Fault::Invalid.with(format!("{it}; it is ignored")));
        self.judged(key, wrong);
    }

    /// Decides anew about the network and all hosts.
    fn settle(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(network) = self.settle_network() {
            self.network.in_force = Some(network.clone());
            changes.push(Change::ClusterNetwork(Some(network)));
        }
        let (wanted, mut wrong) = self.wanted_hosts();
        let settled = settle(&self.hosts, wanted);
        for (name, reason) in settled.refused {
            let kept = settled.hosts.contains_key(&name);
            wrong.insert(name, Fault::Conflict.with(refused(&reason, kept)));
        }
        for name in self.hosts.keys() {
            if !settled.hosts.contains_key(name) {
                changes.push(Change::HostSubnet(name.clone(), None));
            }
        }
        for (name, host) in &settled.hosts {
            if self.hosts.get(name) != Some(host) {
                changes.push(Change::HostSubnet(name.clone(), Some(host.clone())));
            }
        }
        self.hosts = settled.hosts;
        self.claims = Claims::of(&self.hosts);
        self.wrong
            .retain(|object, _| object.kind != Kind::HostSubnet || !object.namespace.is_empty());
        let of_host = |name| ObjectRef::cluster(Kind::HostSubnet, name);
        self.wrong
            .extend(wrong.into_iter().map(|(name, it)| (of_host(name), it)));
        changes
    }

    /// The network that takes the place of the one in force.
    fn settle_network(&mut self) -> Option<ClusterNetwork> {
        let old = self.network.in_force.as_ref();
        let refusal = match &self.network.candidate {
            None => old.map(|_| (Fault::Invalid, "was removed".to_owned())),
            Some(Err(error)) => Some((Fault::Invalid, error.to_string())),
            Some(Ok(new)) => {
                let Some(stranded) = old.and_then(|old| self.strands(old, new)) else {
                    let changed = (old != Some(new)).then(|| new.clone());
                    self.judged(ObjectRef::cluster_network(), None);
                    return changed;
                };
                Some((Fault::Conflict, stranded))
            }
        };
        let wrong = refusal.map(|(fault, reason)| {
            let holds = match old {
                Some(_) => "the last good one stays in force: mend it",
                None => "there is no cluster network until it is mended",
            };
            fault.with(format!("{reason}; {holds}"))
        });
        self.judged(ObjectRef::cluster_network(), wrong);
        None
    }

    /// A host in force that a new network would leave outside, and why.
    fn strands(&self, old: &ClusterNetwork, new: &ClusterNetwork) -> Option<String> {
        self.hosts.iter().find_map(|(name, host)| {
            let latest = match self.host_candidates.get(name)? {
                Ok(valid) => &valid.value,
                Err(_) => host,
            };
            let reason = fits(latest, new).err()?;
            fits(latest, old).is_ok().then(|| {
                format!("HostSubnet/{name} would be cut off ({reason}): change that object first")
            })
        })
    }

    /// The latest version of each host, or the one in force where the latest is invalid; and what is invalid.
    fn wanted_hosts(&self) -> (Hosts, BTreeMap<String, Wrong>) {
        let mut wanted = Hosts::new();
        let mut problems = BTreeMap::new();
        let network = self.network.in_force.as_ref();
        for (name, candidate) in &self.host_candidates {
            let checked = candidate.as_ref().map_err(Clone::clone);
            let checked = checked.and_then(|valid| match network {
                Some(network) => fits(&valid.value, network).map(|()| valid),
                None => Ok(valid),
            });
            match checked {
                Ok(valid) => {
                    wanted.insert(name.clone(), valid.value.clone());
                    if let Some(warning) = &valid.warning {
                        problems.insert(name.clone(), partly(warning));
                    }
                }
                Err(error) => {
                    let old = self.hosts.get(name);
                    let message = refused(&error.to_string(), old.is_some());
                    problems.insert(name.clone(), Fault::Invalid.with(message));
                    wanted.extend(old.map(|old| (name.clone(), old.clone())));
                }
            }
        }
        (wanted, problems)
    }
}

fn refused(reason: &str, kept: bool) -> String {
    let holds = if kept {
        "the last good version stays in force"
    } else {
        "the node has no place in the pod network"
    };
    format!("{reason}; {holds}: mend it")
}

fn partly(warning: &str) -> Wrong {
    Fault::Partly.with(format!(
        "{warning}; all but the egress addresses is in force: mend them"
    ))
}
