//! Figures for Prometheus, made anew for each reading from the maps and the world.
//!
//! Labels are bounded: states and reasons are fixed sets, namespaces are those with a pod on this node. Single rules have no
//! figures of their own (`weft get egress-policies --rules` has them): an object may hold a thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use weft_core::compile::project_key;
use weft_core::model::{Action, DnsName, World};
use weft_core::names::{NameState, Resolution};
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::dns::LearningRow;
use weft_ebpf::rows::egress::HitRow;

use super::egress::{Found, counts};
use super::read::{NoAnswer, policies as policies_of, read};
use super::view::PolicyState;
use crate::observe::{egress, maps};
use crate::sync::Handle;

/// Of the answer: `OpenMetrics`, which Prometheus asks for.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The answer to `GET /metrics`.
pub fn text(handle: &Handle) -> Result<String, NoAnswer> {
    let known = handle.names().ok_or(NoAnswer::Loop)?;
    let shared = Arc::clone(handle.shared());
    let families = read(handle, move |m| {
        let drops = maps::drops_by_reason(m)?;
        let packets = |reason| drops.get(&reason).map_or(0, |row| row.packets);
        let hits = egress::hits(m)?;
        let suppressed = maps::suppressed_events(m)?;
        let found = policies_of(m, &shared)?;
        let learned = egress::learning(m)?;
        let passes = shared.pass().passes;
        let world = shared.world();
        let mut families = node(&world, passes, suppressed);
        families.push(stale(shared.stale()));
        families.push(drops_of(packets));
        families.extend(policies(&found, &hits));
        families.push(names(&known));
        families.extend(learning(&world, &learned));
        Ok(families)
    })?;
    Ok(written(families))
}

fn written(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(families)));
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        tracing::error!(%error, "figures written to memory"); // a string takes all
    }
    text
}

/// Figures with one name.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    rows: Vec<(Labels, u64)>,
}

type Labels = Vec<(&'static str, String)>;

impl Family {
    /// A counter's name gets `_total` behind it.
    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            kind,
            rows: Vec::new(),
        }
    }

    fn one(mut self, value: u64) -> Self {
        self.rows.push((Labels::new(), value));
        self
    }

    fn labelled(
        mut self,
        label: &'static str,
        rows: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Self {
        let rows = rows.into_iter();
        let rows = rows.map(|(value, count)| (vec![(label, value.to_owned())], count));
        self.rows.extend(rows);
        self
    }
}

fn node(world: &World, passes: u64, suppressed: u64) -> Vec<Family> {
    let size = |items: usize| items as u64;
    vec![
        Family::new(
            "weft_endpoints",
            "Pods attached to this node",
            MetricType::Gauge,
        )
        .one(size(world.endpoints.len())),
        Family::new("weft_nodes", "Nodes known", MetricType::Gauge).one(size(world.hosts.len())),
        Family::new("weft_projects", "Projects known", MetricType::Gauge)
            .one(size(world.projects.len())),
        Family::new(
            "weft_sync_passes",
            "Full passes since the agent started",
            MetricType::Counter,
        )
        .one(passes),
        Family::new(
            "weft_drop_events_suppressed",
            "Drops that were counted and not sent as events",
            MetricType::Counter,
        )
        .one(suppressed),
    ]
}

fn stale(stale: Duration) -> Family {
    let help = "Seconds since the source of the API objects was heard; an API server says something once a minute";
    Family::new("weft_store_stale_seconds", help, MetricType::Gauge).one(stale.as_secs())
}

fn drops_of(packets: impl Fn(DropReason) -> u64) -> Family {
    let rows = DropReason::ALL.iter().map(|it| (it.name(), packets(*it)));
    let help = "Packets dropped, by reason";
    Family::new("weft_drops", help, MetricType::Counter).labelled("reason", rows)
}

/// A policy's counters begin at zero with each change of its rules, which is what a counter may do.
fn policies(found: &[Found], hits: &BTreeMap<(u64, u32), HitRow>) -> [Family; 2] {
    let counts = counts(found);
    let states = PolicyState::ALL.map(|state| (state.name(), counts.of(state) as u64));
    let help = "Egress policies, by what becomes of them on this node";
    let by_state =
        Family::new("weft_egress_policies", help, MetricType::Gauge).labelled("state", states);

    let help = "Packets for which a rule of the namespace's egress policy decided";
    let mut packets = Family::new("weft_egress_packets", help, MetricType::Counter);
    let enforced = found
        .iter()
        .filter(|one| one.state == PolicyState::Enforced);
    for one in enforced {
        let Some(policy) = &one.policy else { continue };
        let mut sums = [0, 0];
        for (rule, rank) in policy.rules.iter().flatten().zip(0..) {
            let hit = hits.get(&(policy.number(), rank));
            sums[usize::from(rule.action == Action::Deny)] += hit.map_or(0, |hit| hit.packets);
        }
        for (action, sum) in ["allow", "deny"].into_iter().zip(sums) {
            let labels = vec![
                ("namespace", one.namespace.clone()),
                ("action", action.into()),
            ];
            packets.rows.push((labels, sum));
        }
    }
    [by_state, packets]
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
    Family::new("weft_dns_names", help, MetricType::Gauge).labelled("state", states)
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
        let mut family = Family::new(name, help, MetricType::Counter);
        family.rows = found.collect();
        family
    })
}

#[derive(Debug)]
struct Figures(Vec<Family>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let Family {
                name,
                help,
                kind,
                rows,
            } = family;
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            for (labels, value) in rows {
                write(*kind, *value, metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn write(kind: MetricType, value: u64, encoder: MetricEncoder<'_>) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(encoder),
        _ => ConstGauge::new(value).encode(encoder),
    }
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
