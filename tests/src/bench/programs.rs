//! What one packet costs in each program, as `weft bench-programs` measures it in the kernel.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Options;
use super::cluster::Cluster;
use super::report::{Goal, Row, Table};

/// Table sizes that are compared.
const SIZES: [u64; 3] = [1, 1_000, 100_000];

/// One entry of the command's JSON array: one program on one packet with its tables at one size.
#[derive(Debug, Deserialize)]
struct Run {
    /// `from_pod`
    program: String,
    /// What the packet is: `to a pod on this node`.
    case: String,
    /// Rows in each table that the case looks into.
    rows: u64,
    /// Nanoseconds per packet, one value a repetition.
    nanoseconds: Vec<f64>,
}

/// Asks the agent's binary on a node; it uses tables of its own, not the agent's.
pub fn run(_options: &Options, cluster: &Cluster) -> Result<Table> {
    let node = cluster.node("node1")?;
    let output = cluster.weft(&node, &["bench-programs", "-o", "json"])?;
    let runs: Vec<Run> =
        serde_json::from_slice(&output.stdout).context("the output of weft bench-programs")?;
    let mut rows: Vec<Row> = vec![];
    for run in runs {
        let name = format!("`{}`, {}", run.program, run.case);
        let index = rows
            .iter()
            .position(|row| row.name == name)
            .unwrap_or_else(|| {
                rows.push(Row::new(&name, SIZES.len()));
                rows.len() - 1
            });
        if let Some(size) = SIZES.iter().position(|size| *size == run.rows) {
            rows[index].samples[size] = run.nanoseconds;
        }
    }
    let goals = rows.iter().map(|row| {
        let worst = row.value(2).max(row.value(1)) / row.value(0);
        Goal::at_most(format!("{}, growth with the tables", row.name), worst, 1.3)
    });
    Ok(Table {
        title: "One packet in one program, ns".into(),
        how: "BPF_PROG_TEST_RUN, by the number of rows in each table; medians.".into(),
        subjects: ["1 row", "1,000 rows", "100,000 rows"]
            .map(String::from)
            .into(),
        ratios: vec![(2, 0)],
        goals: goals.collect(),
        rows,
    })
}
