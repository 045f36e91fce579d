//! Which nodes may not have followed an object yet. A plain value.
//!
//! A node says nothing of what it follows: in a large cluster that would be thousands of writes for one change. What is
//! known is the exception. A node whose agent does not run goes on with what it had; an agent that cannot enforce an object
//! says so in the status of the node's HostSubnet. All others follow within a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use weft_core::model::Kind;

use super::judge::{Status, Verdict};
use crate::store::{Delta, Object, ObjectRef};

/// So long after it was cut off, a node's agent may still count as ready: kubelet reports every ten seconds, and a node
/// that is silent is given up after forty.
const BELATED: Duration = Duration::from_mins(1);

/// Nodes that a status lists at most, and those that its message names.
const LISTED: usize = 100;
const NAMED: usize = 10;

/// Why a node has not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No pod of the agent on the node is ready.
    Away,
    /// What the agent says.
    Refused(String),
}

/// Nodes, their agents, and what became of each version of the objects that nodes follow.
#[derive(Debug, Default)]
pub(super) struct Followers {
    nodes: BTreeSet<String>,
    /// By name of the agent's pod: the node, and whether the pod is ready.
    agents: BTreeMap<String, (String, bool)>,
    /// By node and object: why the node does not enforce it.
    refused: BTreeMap<String, BTreeMap<ObjectRef, String>>,
    /// Nodes without a ready agent at the last look.
    away: BTreeSet<String>,
    followed: BTreeMap<ObjectRef, Followed>,
}

/// A version of an object.
#[derive(Debug)]
struct Followed {
    generation: Value,
    /// When it came; `None` if an earlier controller has judged it.
    since: Option<Instant>,
    /// Nodes that were away when it came, and have not come back.
    behind: BTreeSet<String>,
}

impl Followers {
    /// Takes an object in.
    pub(super) fn take(&mut self, delta: &Delta) {
        match delta {
            Delta::Put(object) => self.put(object),
            Delta::Gone(key) => self.gone(key),
        }
    }

    fn put(&mut self, object: &Object) {
        let name = object.key.name.clone();
        match object.key.kind {
            Kind::Node => drop(self.nodes.insert(name)),
            Kind::Pod => {
                let text = |path| object.value.pointer(path).and_then(Value::as_str);
                let ready = text("/status/conditions/0/status") == Some("True");
                match text("/spec/nodeName") {
                    Some(node) => drop(self.agents.insert(name, (node.into(), ready))),
                    None => drop(self.agents.remove(&name)),
                }
            }
            Kind::HostSubnet => {
                let refused = refusals(object);
                if refused.is_empty() {
                    self.refused.remove(&name);
                } else {
                    self.refused.insert(name, refused);
                }
            }
            Kind::ClusterNetwork
            | Kind::NetNamespace
            | Kind::EgressNetworkPolicy
            | Kind::Namespace
            | Kind::Lease
            | Kind::Event
            | Kind::Other(_) => {}
        }
    }

    fn gone(&mut self, key: &ObjectRef) {
        self.followed.remove(key);
        match key.kind {
            Kind::Node => drop(self.nodes.remove(&key.name)),
            Kind::Pod => drop(self.agents.remove(&key.name)),
            Kind::HostSubnet => drop(self.refused.remove(&key.name)),
            Kind::ClusterNetwork
            | Kind::NetNamespace
            | Kind::EgressNetworkPolicy
            | Kind::Namespace
            | Kind::Lease
            | Kind::Event
            | Kind::Other(_) => {}
        }
    }

    /// Looks at what has changed since the last look, once everything was listed: at objects that nodes follow, each with the type
    /// of its condition.
    pub(super) fn look<'a>(
        &mut self,
        objects: impl Iterator<Item = (&'a Object, &'static str)>,
        now: Instant,
    ) {
        let away = self.without_agent();
        for followed in self.followed.values_mut() {
            followed.behind.retain(|node| away.contains(node));
            let recent = |since| now.duration_since(since) < BELATED;
            if followed.since.is_some_and(recent) {
                let more = away.difference(&self.away).cloned();
                followed.behind.extend(more);
            }
        }
        for (object, condition) in objects {
            let generation = object.value.pointer("/metadata/generation");
            let generation = generation.unwrap_or(&Value::Null);
            let known = self.followed.get(&object.key);
            if known.is_some_and(|known| known.generation == *generation) {
                continue;
            }
            // What an earlier controller wrote of this version still holds.
            let told = known.is_none() && observed(object, condition) == Some(generation);
            let mut behind = away.clone();
            if told {
                let listed = listed(object);
                // A list that is full may have left others out.
                behind.retain(|node| listed.len() >= LISTED || listed.contains(node.as_str()));
            }
            let followed = Followed {
                generation: generation.clone(),
                since: (!told).then_some(now),
                behind,
            };
            self.followed.insert(object.key.clone(), followed);
        }
        self.away = away;
    }

    /// Adds to the verdict about an object who has not followed, as of the last look.
    pub(super) fn complete(&self, object: &ObjectRef, verdict: &mut Verdict) {
        let behind = self.behind(object);
        if behind.is_empty() || verdict.status == Status::Unknown {
            return;
        }
        let refused = behind.values().any(|why| matches!(why, Why::Refused(_)));
        let named: Vec<_> = behind
            .iter()
            .take(NAMED)
            .map(|(node, why)| match why {
                Why::Away => format!("{node} (its agent is not ready)"),
                Why::Refused(reason) => format!("{node} ({reason})"),
            })
            .collect();
        let more = match behind.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        verdict.warning |= refused;
        verdict.behind_message = format!(
            "{} of {} nodes may not have followed: {}{more}",
            behind.len(),
            self.nodes.len(),
            named.join(", ")
        );
        let nodes = behind.keys().take(LISTED);
        verdict.behind = nodes.map(|node| (*node).to_owned()).collect();
    }

    fn behind(&self, object: &ObjectRef) -> BTreeMap<&str, Why> {
        let away = self.followed.get(object).into_iter();
        let away = away.flat_map(|it| &it.behind);
        let mut behind: BTreeMap<_, _> = away.map(|node| (node.as_str(), Why::Away)).collect();
        if self.refused.is_empty() {
            return behind;
        }
        for (node, refused) in &self.refused {
            if let Some(reason) = refused.get(object) {
                behind.insert(node, Why::Refused(reason.clone()));
            }
        }
        behind
    }

    /// Nodes without a ready agent; none where agents do not run in pods.
    fn without_agent(&self) -> BTreeSet<String> {
        if self.agents.is_empty() {
            return BTreeSet::new();
        }
        let ready = self.agents.values().filter(|(_, ready)| *ready);
        let ready: BTreeSet<_> = ready.map(|(node, _)| node).collect();
        let away = self.nodes.iter().filter(|node| !ready.contains(node));
        away.cloned().collect()
    }
}

/// What a HostSubnet's node does not enforce, and why.
fn refusals(object: &Object) -> BTreeMap<ObjectRef, String> {
    let list = object.value.pointer("/status/policiesNotInForce");
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let named = items.filter_map(|item| {
        let text = |field: &str| item[field].as_str().map(ToOwned::to_owned);
        let policy = ObjectRef::egress_policy(text("namespace")?, text("name")?);
        Some((policy, text("reason").unwrap_or_default()))
    });
    named.collect()
}

/// The generation that a condition is about.
fn observed<'a>(object: &'a Object, condition: &str) -> Option<&'a Value> {
    let conditions = object.value.pointer("/status/conditions")?.as_array()?;
    let own = conditions.iter().find(|it| it["type"] == condition)?;
    own.get("observedGeneration")
}

/// The nodes that its status lists.
fn listed(object: &Object) -> BTreeSet<&str> {
    let list = object.value.pointer("/status/nodesBehind");
    let names = list.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests;
