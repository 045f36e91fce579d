//! Figures for Prometheus, made anew for each reading from the maps and the world.
//!
//! Labels are bounded: states and reasons are fixed sets, namespaces are those with a pod on this node. Single rules have no
//! figures of their own (`weft get egress-policies --rules` has them): an object may hold a thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weft_core::compile::project_key;
use weft_core::model::{Action, DnsName, World};
use weft_core::names::{NameState, Resolution};
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::dns::LearningRow;
use weft_ebpf::rows::egress::HitRow;
use weft_ebpf::rows::flow::FlowUseRow;

use super::egress::{Found, counts};
use super::read::{NoAnswer, egress_policies as survey, read};
use super::view::EgressPolicyState;
use crate::cni;
use crate::figures::{Family, Labels, written};
use crate::observe::{egress, maps};
use crate::sync::{Handle, Shared};

/// The answer to `GET /metrics`.
pub fn text(handle: &Handle, cni: &cni::metrics::Metrics) -> Result<String, NoAnswer> {
    let known = handle.names().ok_or(NoAnswer::Loop)?;
    let shared = Arc::clone(handle.shared());
    let mut families = read(handle, move |m| {
        let drops = maps::drops_by_reason(m)?;
        let packets = |reason| drops.get(&reason).map_or(0, |row| row.packets);
        let hits = egress::hits(m)?;
        let suppressed = maps::suppressed_events(m)?;
        let found = survey(m, &shared)?;
        let learned = egress::learning(m)?;
        let used = egress::flow_use(m)?;
        let mut families = passes(&shared);
        families.push(stale(shared.lag().stale));
        let world = shared.world();
        families.extend(node(&world, suppressed));
        families.push(drops_of(packets));
        families.extend(egress_policies(&found, &hits));
        families.push(names(&known));
        families.extend(learning(&world, &learned));
        families.extend(connections(&world, &used));
        Ok(families)
    })?;
    families.extend(requests(cni));
    Ok(written(families))
}

fn passes(shared: &Shared) -> Vec<Family> {
    let pass = shared.pass();
    let (problems, ready) = (shared.problems().len(), shared.ready().is_ok());
    let durations = vec![(Labels::new(), shared.passes())];
    vec![
        Family::version("weft_agent_info"),
        Family::gauge(
            "weft_ready",
            "1 while pods can be attached and the last full pass was good",
        )
        .one(ready.into()),
        Family::gauge(
            "weft_problems",
            "What `weft status` lists as problems, but for names and policies",
        )
        .one(problems as u64),
        Family::counter("weft_sync_passes", "Full passes since the agent started").one(pass.passes),
        Family::histogram(
            "weft_sync_pass_duration_seconds",
            "What full passes took",
            durations,
        ),
        Family::gauge(
            "weft_sync_pass_failures",
            "What the last full pass could not do",
        )
        .one(pass.failures.len() as u64),
        Family::gauge(
            "weft_sync_last_pass_timestamp_seconds",
            "When the last full pass ended, seconds since 1970",
        )
        .one(pass.ended),
    ]
}

/// CNI requests by command and outcome.
fn requests(metrics: &cni::metrics::Metrics) -> [Family; 2] {
    let samples = metrics.snapshot();
    let labels = |sample: &cni::metrics::Sample| {
        let pairs = [("verb", sample.verb), ("result", sample.result)];
        Labels::from(pairs.map(|(name, value)| (name, value.to_owned())))
    };
    let mut count = Family::counter("weft_cni_requests", "CNI requests, by command and outcome");
    count.rows = samples
        .iter()
        .map(|it| (labels(it), it.took.count()))
        .collect();
    let rows = samples.iter().filter(|it| it.result == "ok");
    let rows = rows.map(|it| (vec![("verb", it.verb.to_owned())], it.took));
    let help = "What CNI requests that were done took in the agent";
    [
        count,
        Family::histogram("weft_cni_request_duration_seconds", help, rows.collect()),
    ]
}

fn node(world: &World, suppressed: u64) -> Vec<Family> {
    let size = |items: usize| items as u64;
    vec![
        Family::gauge("weft_endpoints", "Pods attached to this node")
            .one(size(world.endpoints.len())),
        Family::gauge("weft_nodes", "Nodes known").one(size(world.hosts.len())),
        Family::gauge("weft_projects", "Projects known").one(size(world.projects.len())),
        Family::counter(
            "weft_drop_events_suppressed",
            "Drops that were counted and not sent as events",
        )
        .one(suppressed),
    ]
}

fn stale(stale: Duration) -> Family {
    let help = "Seconds since the source of the API objects was heard; an API server says something once a minute";
    Family::gauge("weft_store_stale_seconds", help).one(stale.as_secs())
}

fn drops_of(packets: impl Fn(DropReason) -> u64) -> Family {
    let rows = DropReason::ALL.iter().map(|it| (it.name(), packets(*it)));
    let help = "Packets dropped, by reason";
    Family::counter("weft_drops", help).labelled("reason", rows)
}

/// A policy's counters begin at zero with each change of its rules, which is what a counter may do.
fn egress_policies(found: &[Found], hits: &BTreeMap<(u64, u32), HitRow>) -> [Family; 3] {
    let counts = counts(found);
    let states = EgressPolicyState::ALL.map(|state| (state.name(), counts.of(state) as u64));
    let help = "Egress policies, by what becomes of them on this node";
    let by_state = Family::gauge("weft_egress_policies", help).labelled("state", states);

    let help = "Packets for which a rule of the namespace's egress policy decided";
    let mut packets = Family::counter("weft_egress_packets", help);
    let mut rules = 0;
    let enforced = found
        .iter()
        .filter(|one| one.state == EgressPolicyState::Enforced);
    for one in enforced {
        let Some(policy) = &one.policy else { continue };
        let mut sums = [0, 0];
        rules += policy.rules.iter().flatten().count() as u64;
        for (rule, rank) in policy.rules.iter().flatten().zip(0..) {
            let hit = hits.get(&(policy.number(), rank));
            sums[usize::from(rule.action == Action::Deny)] += hit.map_or(0, |hit| hit.packets);
        }
        for (action, sum) in ["allow", "deny"].into_iter().zip(sums) {
            let labels = vec![
                ("namespace", one.object.namespace.clone()),
                ("action", action.into()),
            ];
            packets.rows.push((labels, sum));
        }
    }
    let help = "Rules of the egress policies that are enforced on this node";
    [
        by_state,
        Family::gauge("weft_egress_rules", help).one(rules),
        packets,
    ]
}

fn names(known: &BTreeMap<DnsName, Resolution>) -> Family {
    let [mut resolved, mut stale, mut unresolved] = [0; 3];
    for resolution in known.values() {
        match resolution.state {
            NameState::Resolved { .. } => resolved += 1,
            NameState::Stale { .. } => stale += 1,
            NameState::Unresolved { .. } => unresolved += 1,
        }
    }
    let help = "DNS names that the agent resolves for egress policies, by how they stand";
    let states = [
        ("resolved", resolved),
        ("stale", stale),
        ("unresolved", unresolved),
    ];
    Family::gauge("weft_dns_names", help).labelled("state", states)
}

/// How the pods' shares of noted connections suffice, summed by namespace.
fn connections(world: &World, rows: &BTreeMap<u32, FlowUseRow>) -> [Family; 2] {
    let family = |name, help, value: fn(&FlowUseRow) -> u64| {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for endpoint in world.endpoints.values() {
            let row = rows.get(&endpoint.host_ifindex);
            *sums.entry(&endpoint.project).or_default() += row.map_or(0, value);
        }
        let mut family = Family::counter(name, help);
        let labels = |project: &str| vec![("namespace", project.to_owned())];
        family.rows = sums.iter().map(|(it, sum)| (labels(it), *sum)).collect();
        family
    };
    [
        family(
            "weft_connections_evicted",
            "Connections in use that gave way to newer ones of the same pod, whose share was used up",
            |row| row.evicted,
        ),
        family(
            "weft_connections_refused",
            "Connections that found no room in the node's table",
            |row| row.refused,
        ),
    ]
}

/// What the data path learned from pods' DNS answers, of projects with a pod here. By namespace, since a sum would fall when a
/// project leaves, which reads as a counter that began anew.
fn learning(world: &World, rows: &BTreeMap<ProjectKey, LearningRow>) -> [Family; 5] {
    type Column = (&'static str, &'static str, fn(&LearningRow) -> u64);
    let columns: [Column; 5] = [
        (
            "weft_dns_learned",
            "Addresses learned from DNS answers to pods, new or again",
            |row| row.learned,
        ),
        (
            "weft_dns_evicted",
            "Learned addresses that gave way to new ones before their time",
            |row| row.evicted,
        ),
        (
            "weft_dns_refused",
            "Addresses not learned for want of room",
            |row| row.refused,
        ),
        (
            "weft_dns_distrusted",
            "DNS answers for watched names that did not count",
            |row| row.distrusted,
        ),
        (
            "weft_dns_unread",
            "DNS messages that the data path could not read whole",
            |row| row.unread,
        ),
    ];
    let local: BTreeSet<&String> = world.endpoints.values().map(|it| &it.project).collect();
    columns.map(|(name, help, value)| {
        let found = local.iter().filter_map(|project| {
            let row = rows.get(&project_key(project))?;
            Some((vec![("namespace", (*project).clone())], value(row)))
        });
        let mut family = Family::counter(name, help);
        family.rows = found.collect();
        family
    })
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
