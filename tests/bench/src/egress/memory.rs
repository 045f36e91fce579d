//! The agent's memory with many policies, most of them of projects that have no pod on the node.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::Options;
use super::super::cluster::Cluster;
use super::super::report::{Row, Table};
use super::{Inmate, ZONE, namespace, policy, prefixes, rule};

/// Projects with a policy, and how many of them have a pod on the node: as many as its subnet holds with ease.
const PROJECTS: usize = 1_000;
const PODS: usize = 250;
/// Rules of each, and how many of them are by name.
const RULES: usize = 100;
const NAMES: usize = 10;
const PATIENCE: Duration = Duration::from_mins(1);
const FILE: &str = "bench-memory.json";

/// Before, with the policies, with the pods.
pub fn run(_options: &Options, cluster: &Cluster) -> Result<Table> {
    let node = cluster.node("node1")?;
    let plugin = node.plugin()?;
    let mut rows = [
        "agent's resident memory, MB",
        "kernel memory of its maps, MB",
    ]
    .map(|name| Row::new(name, 3));
    let mut note = |subject: usize| -> Result<()> {
        rows[0].samples[subject].push(node.agent_memory()?);
        rows[1].samples[subject].push(node.map_memory()?);
        Ok(())
    };
    note(0)?;
    let project = |n: usize| format!("bench-many{n}");
    let mut objects = vec![];
    for n in 0..PROJECTS {
        let names = (0..NAMES).map(|name| format!("n{name}.p{n}.{ZONE}"));
        let mut rules: Vec<_> = names.map(|name| rule("Allow", "dnsName", &name)).collect();
        let nets = prefixes(RULES - NAMES);
        rules.extend(nets.iter().map(|net| rule("Deny", "cidrSelector", net)));
        objects.extend([namespace(&project(n)), policy(&project(n), &rules)]);
    }
    cluster.staged(FILE, &objects)?.commit()?;
    let deadline = Instant::now() + PATIENCE;
    while cluster.policies(&node)? < PROJECTS {
        ensure!(
            Instant::now() < deadline,
            "the agent does not know all policies within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    note(1)?;
    let pods = (0..PODS)
        .map(|n| Inmate::attach(&plugin, &project(n)))
        .collect::<Result<Vec<_>>>()?;
    note(2)?;
    pods.into_iter().try_for_each(Inmate::remove)?;
    cluster.unstage(FILE)?;
    Ok(Table {
        title: "Memory of an agent with many egress policies".into(),
        how: format!(
            "{PROJECTS} projects of {RULES} rules, {} names in all, which no name server answers here; at last {PODS} real pods \
             of as many of these projects.",
            PROJECTS * NAMES
        ),
        subjects: ["before", "with the policies", "with the pods"]
            .map(String::from)
            .into(),
        ratios: vec![],
        goals: vec![],
        rows: rows.into(),
    })
}
