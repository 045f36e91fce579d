//! What many policies take: of a process that keeps the world and its rows, and of the kernel's maps.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use weft_core::compile::compile;
use weft_core::model::{Action, Change, Destination, EgressPolicy, EgressRule, NamePattern};

use super::cluster::{Cluster, Prefixes};
use super::egress::mix;
use super::rig::Rig;

/// Projects, each with a pod and a policy of its own.
const PROJECTS: u32 = 1_000;
/// Rules of each, and how many of them are by name.
const RULES: u32 = 100;
const NAMES: u32 = 10;
/// Addresses of each name.
const ADDRESSES: u32 = 2;

/// Bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    projects: u32,
    rules: u32,
    names: u32,
    /// Resident: the world and its rows.
    process: u64,
    /// Kernel memory of all maps without the policies.
    maps_before: u64,
    /// And with them.
    maps: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} projects of {} rules, {} names in all: process {} kB; maps {} kB, of which {} kB without policies",
            self.projects,
            self.rules,
            self.names,
            self.process / 1000,
            self.maps / 1000,
            self.maps_before / 1000
        )
    }
}

/// Makes the world twice, without policies and with them.
pub fn measure(bpf_dir: &Path) -> anyhow::Result<Memory> {
    let resident = resident()?;
    let cluster = cluster()?;
    let tables = compile(&cluster.world);
    let process = self::resident()?.saturating_sub(resident);
    drop(tables);

    let other = maps()?;
    let bare = Rig::new(bpf_dir, Cluster::new(PROJECTS, Prefixes::Few))?;
    let maps_before = maps()?.saturating_sub(other);
    drop(bare);

    let other = maps()?;
    let rig = Rig::new(bpf_dir, cluster)?;
    let maps = maps()?.saturating_sub(other);
    drop(rig);
    Ok(Memory {
        projects: PROJECTS,
        rules: RULES,
        names: PROJECTS * NAMES,
        process,
        maps_before,
        maps,
    })
}

fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new(PROJECTS, Prefixes::Few);
    for n in 0..PROJECTS {
        let mut rules = Vec::new();
        for name in 0..NAMES {
            let pattern = NamePattern::Exact(format!("n{name}.p{n}.bench.test").parse()?);
            let number = (n * NAMES + name) * ADDRESSES;
            let addresses = (number..number + ADDRESSES)
                .map(|at| IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + at)))
                .collect();
            let change = Change::Resolved(pattern.clone(), addresses);
            cluster.world.take(change);
            rules.push(EgressRule {
                action: Action::Allow,
                to: Destination::Name(pattern),
                ports: vec![],
            });
        }
        rules.extend(mix(RULES - NAMES)?);
        let project = format!("project{n}");
        let policy = EgressPolicy::new(&project, rules);
        let change = Change::EgressPolicy(project, "bench".into(), Some(policy));
        cluster.world.take(change);
    }
    Ok(cluster)
}

fn resident() -> anyhow::Result<u64> {
    let path = "/proc/self/status";
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .with_context(|| format!("no VmRSS in {path}"))?;
    Ok(kib * 1024)
}

/// Kernel memory of the maps that this process has open, each once.
fn maps() -> anyhow::Result<u64> {
    let path = "/proc/self/fdinfo";
    let mut maps: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("list {path}"))? {
        // The descriptor of the listing itself is gone when it is read.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else {
            continue;
        };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.into_values().sum())
}
