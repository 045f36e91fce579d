//! `weft bench-programs`: what a packet costs in each program, by the number of rows in the maps and of rules, and what memory
//! many policies take.
//!
//! The programs run through `BPF_PROG_TEST_RUN` over maps of their own; the node's data path is not touched.

mod cluster;
mod egress;
mod memory;
mod packets;
mod rig;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use serde::Serialize;

use self::cluster::{Cluster, Prefixes};
use self::memory::Memory;
use self::packets::Case;
use self::rig::Rig;
use super::{Output, print};

/// What to measure.
#[derive(Args)]
pub struct BenchPrograms {
    /// Rows in each map, at least those that the packets need
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 100_000], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: Vec<u32>,
    /// Rules of an egress policy; 0 is no policy
    #[arg(long, value_delimiter = ',', default_values_t = [0, 10, 1_000, 100_000], value_parser = clap::value_parser!(u32).range(..=100_000))]
    rules: Vec<u32>,
    /// Runs of a program in one measurement
    #[arg(long, default_value_t = 200_000)]
    repeat: u32,
    /// Measurements of each program and number of rows, interleaved, each of another flow; the median counts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Processor to run on
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// A bpf file system; a folder in it is made and removed
    #[arg(long, default_value = "/sys/fs/bpf")]
    bpf_dir: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What the results are worth.
const NOTES: [&str; 3] = [
    "prefixes few: the trie as a cluster has it, whose size makes rows of the other maps only",
    "prefixes rows: the node has as many addresses as the other maps have rows, the only thing that fills the trie",
    "from_overlay ends at the missing overlay metadata, which a test run cannot give a packet: parsing and the drop",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    kernel: String,
    cpu: usize,
    repeat: u32,
    rounds: u32,
    notes: [&'static str; 3],
    results: Vec<Cost>,
    /// By rules of the egress policy.
    egress: Vec<Cost>,
    memory: Memory,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cost {
    program: &'static str,
    #[serde(rename = "case")]
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefixes: Option<Prefixes>,
    /// Median cost of a packet in nanoseconds, by rows or rules.
    nanoseconds: BTreeMap<u32, u64>,
    /// The most to the fewest.
    ratio: f64,
    /// Every measurement, in the order they were made.
    samples: BTreeMap<u32, Vec<u64>>,
}

/// Runs it.
pub fn run(args: &BenchPrograms) -> anyhow::Result<ExitCode> {
    let mut cpus = CpuSet::new();
    cpus.set(args.cpu).context("--cpu")?;
    sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus)
        .with_context(|| format!("move to processor {}", args.cpu))?;

    // First: memory that was used and is free again would hide what is taken.
    let memory = memory::measure(&args.bpf_dir)?;
    let mut results = Vec::new();
    for prefixes in [Prefixes::Few, Prefixes::Rows] {
        let clusters = args.rows.iter().map(|rows| Cluster::new(*rows, prefixes));
        let rigs = rigs(args, &args.rows, clusters)?;
        for case in Case::ALL {
            results.push(compare(args, case, Some(prefixes), &rigs)?);
        }
    }
    let clusters = args
        .rules
        .iter()
        .map(|rules| egress::cluster(*rules))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let rigs = rigs(args, &args.rules, clusters)?;
    let mut egress = Vec::new();
    for case in egress::CASES {
        egress.push(compare(args, case, None, &rigs)?);
    }
    egress::check(&rigs)?;
    drop(rigs);
    report(args, results, egress, memory)?;
    Ok(ExitCode::SUCCESS)
}

/// A rig each, by its size.
type Rigs = Vec<(u32, Rig)>;

fn rigs(
    args: &BenchPrograms,
    sizes: &[u32],
    clusters: impl IntoIterator<Item = Cluster>,
) -> anyhow::Result<Rigs> {
    let clusters = sizes.iter().copied().zip(clusters);
    clusters
        .map(|(size, cluster)| Ok((size, Rig::new(&args.bpf_dir, cluster)?)))
        .collect()
}

fn compare(
    args: &BenchPrograms,
    case: &Case,
    prefixes: Option<Prefixes>,
    rigs: &Rigs,
) -> anyhow::Result<Cost> {
    let mut samples: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for round in 0..args.rounds {
        for (size, rig) in rigs {
            let cost = rig.measure(case, round, args.repeat)?;
            samples.entry(*size).or_default().push(cost);
        }
    }
    Ok(result(case, prefixes, samples))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of one packet are small numbers"
)]
fn result(case: &Case, prefixes: Option<Prefixes>, samples: BTreeMap<u32, Vec<u64>>) -> Cost {
    let median = |(size, costs): (&u32, &Vec<u64>)| {
        let mut costs = costs.clone();
        costs.sort_unstable();
        (*size, costs[costs.len() / 2])
    };
    let nanoseconds: BTreeMap<u32, u64> = samples.iter().map(median).collect();
    let cost = |of: Option<(&u32, &u64)>| of.map_or(f64::NAN, |(_, cost)| (*cost).max(1) as f64);
    let ratio = cost(nanoseconds.last_key_value()) / cost(nanoseconds.first_key_value());
    Cost {
        program: case.program,
        name: case.name,
        prefixes,
        nanoseconds,
        ratio: (ratio * 100.0).round() / 100.0,
        samples,
    }
}

fn report(
    args: &BenchPrograms,
    results: Vec<Cost>,
    egress: Vec<Cost>,
    memory: Memory,
) -> anyhow::Result<()> {
    if args.output == Output::Json {
        let kernel = nix::sys::utsname::uname().context("uname")?;
        return print::json(&Report {
            kernel: kernel.release().to_string_lossy().into_owned(),
            cpu: args.cpu,
            repeat: args.repeat,
            rounds: args.rounds,
            notes: NOTES,
            results,
            egress,
            memory,
        });
    }
    table("ROWS", &results);
    print::line("");
    table("RULES", &egress);
    print::line("");
    print::line(&memory.to_string());
    print::line("");
    for note in NOTES {
        print::line(note);
    }
    Ok(())
}

fn table(by: &str, results: &[Cost]) {
    let costs = format!("NANOSECONDS BY {by}");
    print::table(
        ["PROGRAM", "CASE", "PREFIXES", &costs, "RATIO"],
        results.iter().map(|result| {
            let costs = result.nanoseconds.iter();
            let costs: Vec<String> = costs
                .map(|(size, cost)| format!("{size}: {cost}"))
                .collect();
            let prefixes = result.prefixes.map(|prefixes| prefixes.to_string());
            [
                result.program.to_owned(),
                result.name.to_owned(),
                prefixes.unwrap_or_default(),
                costs.join(", "),
                format!("{:.2}", result.ratio),
            ]
        }),
    );
}
