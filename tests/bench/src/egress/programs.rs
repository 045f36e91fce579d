//! One packet by the number of rules, and memory, as `weft bench-programs` measures them.

use serde::Deserialize;

use super::super::programs::Run;
use super::super::report::{Goal, Row, Table};

/// Numbers of rules that are compared.
const SIZES: [u32; 4] = [0, 10, 1_000, 100_000];

/// What `weft bench-programs` says of memory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    projects: u32,
    rules: u32,
    names: u32,
    process: f64,
    maps_before: f64,
    maps: f64,
}

/// Packets and memory.
pub fn tables(runs: &[Run], memory: &Memory) -> Vec<Table> {
    let mut rows: Vec<Row> = vec![];
    for run in runs {
        let mut row = Row::new(format!("`{}`, {}", run.program, run.case), SIZES.len());
        for (subject, size) in SIZES.iter().enumerate() {
            row.samples[subject] = run.samples.get(size).cloned().unwrap_or_default();
        }
        rows.push(row);
    }
    let goals = rows.iter().map(|row| {
        Goal::at_most(
            format!("{}, 100,000 rules / 10", row.name),
            row.ratio(3, 1),
            1.2,
        )
    });
    let packets = Table {
        title: "One packet to the outside by egress rules, ns".into(),
        how: "BPF_PROG_TEST_RUN; prefixes of /8 to /32 (IPv6: /34 to /81, and /128), half of them single addresses, many nested; \
              medians. Without rules there is no policy."
            .into(),
        subjects: ["no rules", "10", "1,000", "100,000"].map(String::from).into(),
        ratios: vec![(3, 1), (3, 0)],
        goals: goals.collect(),
        rows,
    };
    let sizes = [
        ("world and rows in a process, MB", memory.process),
        ("kernel memory of the maps, MB", memory.maps),
        ("the same without policies, MB", memory.maps_before),
    ];
    let sizes = sizes.map(|(name, bytes)| {
        let mut row = Row::new(name, 1);
        row.samples[0].push(bytes / 1e6);
        row
    });
    let memory = Table {
        title: "Memory of many egress policies, of pods made up".into(),
        how: format!(
            "{} projects with a pod on the node, {} rules each, {} names in all with two addresses each; what the agent's \
             core and the maps hold, without an agent around them.",
            memory.projects, memory.rules, memory.names
        ),
        subjects: vec!["weft".into()],
        ratios: vec![],
        goals: vec![],
        rows: sizes.into(),
    };
    vec![packets, memory]
}
