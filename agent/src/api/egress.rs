//! What becomes of egress policies on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use weft_core::compile::egress::Memo;
use weft_core::model::{
    EgressPolicy as Policy, EgressState, Kind, ObjectRef, Problem, Subject, Violation, World,
};
use weft_ebpf::rows::egress::POLICY_CLOSED;

use super::view::{EgressPolicyCounts, EgressPolicyState};
use crate::bpf::maps::TableError;
use crate::sync::Refusal;

const PENDING: &str =
    "the data path does not hold it yet; where that lasts, another problem of the node says why";

/// A policy and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which one; its namespace is the project.
    pub object: ObjectRef,
    /// Its state.
    pub state: EgressPolicyState,
    /// Why it is not enforced; empty if it is.
    pub reason: String,
    /// What its author may have overlooked.
    pub warning: Option<String>,
    /// The version that the world holds; none if the only one was refused.
    pub policy: Option<Arc<Policy>>,
}

/// Every policy and its state: by the world, by what was refused, and by what the data path holds for the project.
pub fn survey(
    world: &World,
    refusals: &BTreeMap<Subject, Refusal>,
    number: impl Fn(&str) -> Result<Option<u64>, TableError>,
) -> Result<Vec<Found>, TableError> {
    let local = local_projects(world);
    let mut found = BTreeMap::new();
    for (project, policies) in &world.egress_policies {
        let held = if local.contains(project.as_str()) {
            number(project)?.map_or(Held::Nothing, Held::Policy)
        } else {
            Held::NoPods
        };
        let (state, reason) = state(world.egress_state(project), held);
        for (name, policy) in policies {
            let object = ObjectRef::egress_policy(project, name);
            let one = Found {
                object: object.clone(),
                state,
                reason: reason.clone(),
                warning: warning(world, state, policy),
                policy: Some(Arc::clone(policy)),
            };
            found.insert(object, one);
        }
    }
    for (subject, refusal) in refusals {
        let Subject::Object(object) = subject else {
            continue;
        };
        if object.kind != Kind::EgressNetworkPolicy {
            continue;
        }
        let one = found.entry(object.clone()).or_insert_with(|| Found {
            object: object.clone(),
            state: EgressPolicyState::Refused,
            reason: String::new(),
            warning: None,
            policy: None,
        });
        one.state = EgressPolicyState::Refused;
        one.reason.clone_from(&refusal.message);
    }
    Ok(found.into_values().collect())
}

/// A valid policy that this node does not enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unenforced {
    /// Which one.
    pub object: ObjectRef,
    /// Why, and what holds meanwhile.
    pub reason: String,
}

/// Policies of projects with pods here that the data path does not hold although nothing is wrong with them, sorted. What
/// follows from the objects alone is not among them: policies that do not count, and those that fit no node.
pub fn unenforced(
    world: &World,
    refusals: &BTreeMap<Subject, Refusal>,
    number: impl Fn(&str) -> Result<Option<u64>, TableError>,
) -> Result<Vec<Unenforced>, TableError> {
    let mut found = Vec::new();
    for project in local_projects(world) {
        // In the place of a policy that was refused, and of none before it, the world holds one that is invalid.
        if !matches!(
            world.egress_violation(project),
            None | Some(Violation::Invalid { .. })
        ) {
            continue;
        }
        for (name, policy) in world.egress_policies.get(project).into_iter().flatten() {
            let object = ObjectRef::egress_policy(project, name);
            let reason = match refusals.get(&Subject::from(&object)) {
                Some(refusal) if refusal.everywhere => continue,
                Some(refusal) => refusal.message.clone(),
                None if policy.rules.is_err() => continue,
                None => {
                    let held = number(project)?;
                    if held == Some(policy.number()) || Memo::default().table(policy).is_err() {
                        continue;
                    }
                    PENDING.into()
                }
            };
            found.push(Unenforced { object, reason });
        }
    }
    Ok(found)
}

/// Pods of two families, and a policy that denies all of one: the other one is open, since what no rule matches is allowed.
fn warning(world: &World, state: EgressPolicyState, policy: &Policy) -> Option<String> {
    let counts = match state {
        EgressPolicyState::Enforced
        | EgressPolicyState::Refused
        | EgressPolicyState::NotLocal
        | EgressPolicyState::Pending => true,
        EgressPolicyState::Ignored | EgressPolicyState::Closed => false,
    };
    let (denied, open) = policy.one_sided().filter(|_| counts)?;
    let is_v6 = |net: IpNet| net.addr().is_ipv6();
    let mut networks = world.network.iter().flat_map(|it| &it.networks);
    let concerned = networks.any(|entry| is_v6(entry.cidr) == is_v6(open));
    let family = if is_v6(open) { "IPv6" } else { "IPv4" };
    concerned.then(|| {
        format!(
            "it denies {denied} and has no rule for {open}: the pods have {family} addresses too, and {family} stays open \
             where no other rule matches; add a rule for {open}"
        )
    })
}

/// What the data path holds for a project.
#[derive(Clone, Copy)]
enum Held {
    /// No pod of it is here.
    NoPods,
    /// It does not know the project.
    Nothing,
    /// The policy with this number.
    Policy(u64),
}

fn state(wanted: EgressState, held: Held) -> (EgressPolicyState, String) {
    match wanted {
        EgressState::Ignored(reason) => (EgressPolicyState::Ignored, reason),
        EgressState::Closed(reason) => (EgressPolicyState::Closed, reason),
        EgressState::Open => (EgressPolicyState::Pending, String::new()), // only where there is no policy
        EgressState::InForce(policy) => match held {
            Held::NoPods => (
                EgressPolicyState::NotLocal,
                "no pod of the project is on this node".into(),
            ),
            Held::Policy(number) if number == policy.number() => {
                (EgressPolicyState::Enforced, String::new())
            }
            // One that was there when the agent started was not refused: nothing was known before it.
            Held::Policy(POLICY_CLOSED) => {
                let reason = match Memo::default().table(&policy) {
                    Err(unfit) => format!("{unfit}; nothing leaves the cluster meanwhile"),
                    Ok(_) => "the data path has not taken it over yet".into(),
                };
                (EgressPolicyState::Closed, reason)
            }
            Held::Nothing | Held::Policy(_) => (EgressPolicyState::Pending, PENDING.into()),
        },
    }
}

fn local_projects(world: &World) -> BTreeSet<&str> {
    let endpoints = world.endpoints.values();
    endpoints.map(|it| it.project.as_str()).collect()
}

/// Policies by state.
pub fn counts(found: &[Found]) -> EgressPolicyCounts {
    let mut counts = EgressPolicyCounts::default();
    for one in found {
        counts.add(one.state);
    }
    counts
}

/// Policies that are not in force, and projects that others' policies close. What ingest and the sync loop tell themselves
/// (invalid and refused objects) is not told again.
pub fn problems(world: &World, found: &[Found]) -> Vec<Problem> {
    let told = |one: &&Found| {
        let valid = one.policy.as_ref().is_some_and(|it| it.rules.is_ok());
        match one.state {
            EgressPolicyState::Ignored | EgressPolicyState::Closed => valid,
            EgressPolicyState::Pending => true,
            EgressPolicyState::Enforced
            | EgressPolicyState::NotLocal
            | EgressPolicyState::Refused => false,
        }
    };
    let holds = |state| match state {
        EgressPolicyState::Ignored => "it is ignored, and all is allowed: ",
        EgressPolicyState::Closed => "nothing of the project leaves the cluster: ",
        _ => "",
    };
    let policies = found
        .iter()
        .filter(told)
        .map(|one| Problem::with(&one.object, format!("{}{}", holds(one.state), one.reason)));
    let without = local_projects(world)
        .into_iter()
        .filter(|project| !world.egress_policies.contains_key(*project));
    let closed = without.filter_map(|project| match world.egress_state(project) {
        EgressState::Closed(reason) => Some(Problem::with(
            ObjectRef::cluster(Kind::NetNamespace, project),
            format!("{}{reason}", holds(EgressPolicyState::Closed)),
        )),
        _ => None,
    });
    policies.chain(closed).collect()
}

/// Policies that are in force and may have been meant otherwise.
pub fn warnings(found: &[Found]) -> Vec<Problem> {
    let warnings = found
        .iter()
        .filter_map(|one| Some(Problem::with(&one.object, one.warning.clone()?)));
    warnings.collect()
}

#[cfg(test)]
#[path = "egress/tests.rs"]
mod tests;
