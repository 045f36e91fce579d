//! What one packet costs in each program, as `weft bench-programs` measures it in the kernel.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Options;
use super::cluster::Cluster;
use super::egress::programs::{Memory, tables};
use super::report::{Goal, Row, Table};

/// Table sizes that are compared.
const SIZES: [u32; 3] = [1, 1_000, 100_000];

/// What the command prints.
#[derive(Debug, Deserialize)]
struct Report {
    results: Vec<Run>,
    egress: Vec<Run>,
    memory: Memory,
}

/// One program on one packet.
#[derive(Debug, Deserialize)]
pub struct Run {
    /// `from_pod`
    pub program: String,
    /// What the packet is: `local pod`.
    pub case: String,
    /// How many prefixes there are, where that is a matter of its own.
    prefixes: Option<String>,
    /// Nanoseconds per packet, one value a repetition, by rows or rules.
    pub samples: BTreeMap<u32, Vec<f64>>,
}

/// Asks the agent's binary on a node; it uses tables of its own, not the agent's.
pub fn run(_options: &Options, cluster: &Cluster) -> Result<Vec<Table>> {
    let node = cluster.node("node1")?;
    let output = cluster.weft(&node, &["bench-programs", "-o", "json"])?;
    let report: Report =
        serde_json::from_slice(&output.stdout).context("the output of weft bench-programs")?;
    let rows = report.results.into_iter().map(|run| {
        let prefixes = run.prefixes.unwrap_or_default();
        let name = format!("`{}`, {}, prefixes: {prefixes}", run.program, run.case);
        let mut row = Row::new(name, SIZES.len());
        for (subject, size) in SIZES.iter().enumerate() {
            row.samples[subject] = run.samples.get(size).cloned().unwrap_or_default();
        }
        row
    });
    let rows: Vec<Row> = rows.collect();
    let goals = rows.iter().map(|row| {
        let worst = row.value(2).max(row.value(1)) / row.value(0);
        Goal::at_most(format!("{}, growth with the tables", row.name), worst, 1.3)
    });
    let packets = Table {
        title: "One packet in one program, ns".into(),
        how: "BPF_PROG_TEST_RUN, by the number of rows in each table; medians.".into(),
        subjects: ["1 row", "1,000 rows", "100,000 rows"]
            .map(String::from)
            .into(),
        ratios: vec![(2, 0)],
        goals: goals.collect(),
        rows,
    };
    let mut all = vec![packets];
    all.extend(tables(&report.egress, &report.memory));
    Ok(all)
}
