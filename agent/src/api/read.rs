//! Answers made from the world and the maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_core::compile::project_key;
use weft_core::model::{Mode, World, sort_problems};
use weft_netns::kubens::Place;

use super::egress;
use super::events::Feed;
use super::view::{Drops, Node, Pod, PodDrops, Project, Reason, Status};
use crate::bpf::maps::{Maps, TableError};
use crate::kubens::judge::{Finding, judge};
use crate::observe::{self, maps};
use crate::sync::{Handle, Shared};

/// There is no answer. A count that could not be read is never shown as zero.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Busy, or at its end.
    #[error("the sync loop does not answer; see the agent's log")]
    Loop,
    /// The kernel refused a reading.
    #[error("{0}; see the agent's log")]
    Map(#[from] TableError),
}

/// Reads the maps on the loop's thread.
pub fn read<T: Send + 'static>(
    handle: &Handle,
    read: impl FnOnce(&Maps) -> Result<T, TableError> + Send + 'static,
) -> Result<T, NoAnswer> {
    Ok(handle.read(read).ok_or(NoAnswer::Loop)??)
}

pub fn status(handle: &Handle) -> Result<Status, NoAnswer> {
    let asked = Arc::clone(handle.shared());
    let (drops, suppressed, found) = read(handle, move |m| {
        let found = egress_policies(m, &asked)?;
        Ok((
            maps::drops_by_reason(m)?,
            maps::suppressed_events(m)?,
            found,
        ))
    })?;
    let names = handle.names().ok_or(NoAnswer::Loop)?;
    let dropped = drops.values().map(|drops| drops.packets).sum();
    let shared = handle.shared();
    let mut problems = shared.problems();
    let pass = shared.pass();
    let not_ready = shared.ready().err().unwrap_or_default();
    let world = shared.world();
    problems.extend(egress::problems(&world, &found));
    problems.extend(super::names::problems(&names));
    let mut warnings = egress::warnings(&found);
    let (wrong, known): (Vec<_>, Vec<_>) = mount_namespaces().into_iter().partition(|it| it.wrong);
    problems.extend(wrong.iter().map(Finding::problem));
    warnings.extend(known.iter().map(Finding::problem));
    sort_problems(&mut problems);
    Ok(Status {
        node: world.node.name.clone(),
        node_ip: world.node.ip,
        ready: not_ready.is_empty(),
        not_ready,
        mode: match world.network.as_ref().map(|network| network.mode) {
            Some(Mode::Subnet) => "subnet".into(),
            Some(Mode::Multitenant) => "multitenant".into(),
            None => String::new(),
        },
        subnets: world
            .own_host()
            .into_iter()
            .flat_map(|h| &h.subnets)
            .map(ToString::to_string)
            .collect(),
        pods: world.endpoints.len(),
        nodes: world.hosts.len(),
        projects: world.projects.len(),
        egress: egress::counts(&found),
        problems: problems.into_iter().map(Into::into).collect(),
        warnings: warnings.into_iter().map(Into::into).collect(),
        store_stale_seconds: shared.lag().stale.as_secs(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        last_pass: serde_json::to_value(&pass).unwrap_or_default(),
        data_path: serde_json::to_value(&shared.loaded).unwrap_or_default(),
        dropped,
        suppressed_events: suppressed,
    })
}

/// Nothing if they cannot be looked at: that is for `weft kubens status` to tell.
fn mount_namespaces() -> Vec<Finding> {
    let seen = observe::kubens::look(&Place::default());
    seen.inspect_err(|error| tracing::debug!(%error, "mount namespaces"))
        .map_or_else(|_| Vec::new(), |seen| judge(&seen))
}

/// The state of every egress policy. On the loop's thread, where world and maps are in step.
pub fn egress_policies(maps: &Maps, shared: &Shared) -> Result<Vec<egress::Found>, TableError> {
    let refusals = shared.refusals();
    let world = shared.world();
    egress::survey(&world, &refusals, |project| policy_of(maps, project))
}

/// Number of the policy that the data path holds for a project; `None` if it does not know the project.
fn policy_of(maps: &Maps, project: &str) -> Result<Option<u64>, TableError> {
    let row = maps::project(maps, project_key(project))?;
    Ok(row.map(|row| row.policy))
}

/// Valid egress policies that this node does not enforce.
pub fn unenforced(handle: &Handle) -> Result<Vec<egress::Unenforced>, NoAnswer> {
    let shared = Arc::clone(handle.shared());
    read(handle, move |m| {
        let refusals = shared.refusals();
        let world = shared.world();
        egress::unenforced(&world, &refusals, |project| policy_of(m, project))
    })
}

pub fn pods(handle: &Handle) -> Result<Vec<Pod>, NoAnswer> {
    let endpoints: Vec<_> = handle
        .shared()
        .world()
        .endpoints
        .values()
        .cloned()
        .collect();
    let indices: Vec<u32> = endpoints
        .iter()
        .map(|endpoint| endpoint.host_ifindex)
        .collect();
    let (traffic, drops) = read(handle, move |m| {
        let traffic = indices.iter().map(|ifindex| maps::traffic(m, *ifindex));
        let traffic: Vec<_> = traffic.collect::<Result<_, _>>()?;
        Ok((traffic, maps::drops_by_endpoint(m)?))
    })?;
    let mut dropped = BTreeMap::<u32, u64>::new();
    for ((ifindex, _), row) in drops {
        *dropped.entry(ifindex).or_default() += row.packets;
    }
    let world = handle.shared().world();
    let rows = endpoints
        .into_iter()
        .zip(traffic)
        .map(|(endpoint, traffic)| Pod {
            vnid: vnid(&world, &endpoint.project),
            namespace: endpoint.project,
            name: endpoint.pod,
            ips: endpoint.addresses,
            interface: endpoint.host_ifname,
            attachment: endpoint.id.to_string(),
            sent_packets: traffic.from_packets,
            sent_bytes: traffic.from_bytes,
            received_packets: traffic.to_packets,
            received_bytes: traffic.to_bytes,
            dropped_packets: dropped
                .get(&endpoint.host_ifindex)
                .copied()
                .unwrap_or_default(),
        });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(rows)
}

pub fn nodes(handle: &Handle) -> Vec<Node> {
    let world = handle.shared().world();
    let row = |host: &weft_core::model::HostSubnet| Node {
        name: host.name.clone(),
        ip: host.ip,
        subnets: host.subnets.iter().map(ToString::to_string).collect(),
        local: host.name == world.node.name,
    };
    world.hosts.values().map(row).collect()
}

pub fn projects(handle: &Handle) -> Vec<Project> {
    let world = handle.shared().world();
    let subnet = world
        .network
        .as_ref()
        .is_some_and(|network| network.mode == Mode::Subnet);
    let mut networks = BTreeMap::<u32, Vec<&str>>::new();
    for project in world.projects.values() {
        networks
            .entry(project.vnid.number())
            .or_default()
            .push(&project.name);
    }
    let mut pods = BTreeMap::<&str, usize>::new();
    for endpoint in world.endpoints.values() {
        *pods.entry(&endpoint.project).or_default() += 1;
    }
    let row = |project: &weft_core::model::Project| {
        let vnid = if subnet { 0 } else { project.vnid.number() };
        let others = networks
            .get(&vnid)
            .into_iter()
            .flatten()
            .filter(|name| **name != project.name);
        Project {
            name: project.name.clone(),
            vnid,
            global: vnid == 0,
            joined_with: if vnid == 0 {
                Vec::new()
            } else {
                others.map(ToString::to_string).collect()
            },
            pods: pods.get(project.name.as_str()).copied().unwrap_or_default(),
        }
    };
    world.projects.values().map(row).collect()
}

pub fn drops(handle: &Handle, feed: &Feed) -> Result<Drops, NoAnswer> {
    let (reasons, endpoints) = read(handle, |m| {
        Ok((maps::drops_by_reason(m)?, maps::drops_by_endpoint(m)?))
    })?;
    let world = handle.shared().world();
    let names: BTreeMap<u32, String> = world
        .endpoints
        .values()
        .map(|endpoint| {
            (
                endpoint.host_ifindex,
                format!("{}/{}", endpoint.project, endpoint.pod),
            )
        })
        .collect();
    let reasons = reasons.into_iter().map(|(reason, row)| Reason {
        reason: reason.name().into(),
        text: reason.text().into(),
        packets: row.packets,
        bytes: row.bytes,
    });
    let pods = endpoints
        .into_iter()
        .filter(|((ifindex, _), _)| *ifindex != 0)
        .map(|((ifindex, reason), row)| PodDrops {
            pod: names
                .get(&ifindex)
                .cloned()
                .unwrap_or_else(|| format!("interface {ifindex}")),
            reason: reason.name().into(),
            packets: row.packets,
            bytes: row.bytes,
        });
    Ok(Drops {
        reasons: reasons.collect(),
        pods: pods.collect(),
        recent: feed.recent(),
    })
}

fn vnid(world: &World, project: &str) -> Option<u32> {
    match world.network.as_ref()?.mode {
        Mode::Subnet => Some(0),
        Mode::Multitenant => world
            .projects
            .get(project)
            .map(|project| project.vnid.number()),
    }
}
