//! Which nodes may not have followed a policy yet. A plain value.
//!
//! A node says nothing of what it follows: in a large cluster that would be thousands of writes for one change. What is
//! known is the exception. A node whose agent does not run goes on with what it had; an agent that cannot enforce a policy
//! says so in the status of the node's HostSubnet. All others follow within a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::judge::{Status, Verdict};
use crate::store::{Delta, Key, Object};

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

/// Nodes, their agents, and what became of each version of a policy.
#[derive(Debug, Default)]
pub(super) struct Followers {
    nodes: BTreeSet<String>,
    /// By name of the agent's pod: the node, and whether the pod is ready.
    agents: BTreeMap<String, (String, bool)>,
    /// By node and policy: why the node does not enforce it.
    refused: BTreeMap<String, BTreeMap<(String, String), String>>,
    /// Nodes without a ready agent at the last look.
    away: BTreeSet<String>,
    policies: BTreeMap<Key, Followed>,
}

/// A version of a policy.
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
        match object.key.kind.as_str() {
            "Node" => drop(self.nodes.insert(name)),
            "Pod" => {
                let text = |path| object.value.pointer(path).and_then(Value::as_str);
                let ready = text("/status/conditions/0/status") == Some("True");
                match text("/spec/nodeName") {
                    Some(node) => drop(self.agents.insert(name, (node.into(), ready))),
                    None => drop(self.agents.remove(&name)),
                }
            }
            "HostSubnet" => {
                let refused = refusals(object);
                if refused.is_empty() {
                    self.refused.remove(&name);
                } else {
                    self.refused.insert(name, refused);
                }
            }
            _ => {}
        }
    }

    fn gone(&mut self, key: &Key) {
        match key.kind.as_str() {
            "Node" => drop(self.nodes.remove(&key.name)),
            "Pod" => drop(self.agents.remove(&key.name)),
            "HostSubnet" => drop(self.refused.remove(&key.name)),
            "EgressNetworkPolicy" => drop(self.policies.remove(key)),
            _ => {}
        }
    }

    /// Looks at what has changed since the last look, once everything was listed.
    pub(super) fn look<'a>(&mut self, policies: impl Iterator<Item = &'a Object>, now: Instant) {
        let away = self.without_agent();
        for followed in self.policies.values_mut() {
            followed.behind.retain(|node| away.contains(node));
            let recent = |since| now.duration_since(since) < BELATED;
            if followed.since.is_some_and(recent) {
                let more = away.difference(&self.away).cloned();
                followed.behind.extend(more);
            }
        }
        for object in policies {
            let generation = object.value.pointer("/metadata/generation");
            let generation = generation.unwrap_or(&Value::Null);
            let known = self.policies.get(&object.key);
            if known.is_some_and(|known| known.generation == *generation) {
                continue;
            }
            // What an earlier controller wrote of this version still holds.
            let told = known.is_none() && observed(object) == Some(generation);
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
            self.policies.insert(object.key.clone(), followed);
        }
        self.away = away;
    }

    /// Adds to the verdict of a policy who has not followed, as of the last look.
    pub(super) fn complete(&self, policy: &Key, verdict: &mut Verdict) {
        let behind = self.behind(policy);
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

    fn behind(&self, policy: &Key) -> BTreeMap<&str, Why> {
        let away = self.policies.get(policy).into_iter();
        let away = away.flat_map(|it| &it.behind);
        let mut behind: BTreeMap<_, _> = away.map(|node| (node.as_str(), Why::Away)).collect();
        if self.refused.is_empty() {
            return behind;
        }
        let name = (policy.namespace.clone(), policy.name.clone());
        for (node, policies) in &self.refused {
            if let Some(reason) = policies.get(&name) {
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
fn refusals(object: &Object) -> BTreeMap<(String, String), String> {
    let list = object.value.pointer("/status/policiesNotInForce");
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let named = items.filter_map(|item| {
        let text = |field: &str| item[field].as_str().map(ToOwned::to_owned);
        let name = (text("namespace")?, text("name")?);
        Some((name, text("reason").unwrap_or_default()))
    });
    named.collect()
}

/// The generation that a policy's condition is about.
fn observed(object: &Object) -> Option<&Value> {
    let conditions = object.value.pointer("/status/conditions")?.as_array()?;
    let enforced = conditions.iter().find(|it| it["type"] == "Enforced")?;
    enforced.get("observedGeneration")
}

/// The nodes that its status lists.
fn listed(object: &Object) -> BTreeSet<&str> {
    let list = object.value.pointer("/status/nodesBehind");
    let names = list.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests;
