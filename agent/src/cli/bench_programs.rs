//! `weft bench-programs`: what a packet costs in each program, by the number of rows in the maps.
//!
//! The programs run through `BPF_PROG_TEST_RUN` over maps of their own; the node's data path is not touched.

mod cluster;
mod packets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use serde::Serialize;
use weft_core::compile::{Tables, compile};
use weft_core::diff::diff;

use self::cluster::{Cluster, Prefixes};
use self::packets::Case;
use super::{Output, print};
use crate::apply::maps::Maps;
use crate::apply::object::{Object, load};
use crate::apply::pins::Pins;
use crate::observe;

/// What to measure.
#[derive(Args)]
pub struct BenchPrograms {
    /// Rows in each map, at least those that the packets need
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 100_000], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: Vec<u32>,
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
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cost {
    program: &'static str,
    #[serde(rename = "case")]
    name: &'static str,
    prefixes: Prefixes,
    /// Median cost of a packet in nanoseconds, by rows.
    nanoseconds: BTreeMap<u32, u64>,
    /// The most rows to the fewest.
    ratio: f64,
}

/// Runs it.
pub fn run(args: &BenchPrograms) -> anyhow::Result<ExitCode> {
    let mut cpus = CpuSet::new();
    cpus.set(args.cpu).context("--cpu")?;
    sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus)
        .with_context(|| format!("move to processor {}", args.cpu))?;

    let mut results = Vec::new();
    for prefixes in [Prefixes::Few, Prefixes::Rows] {
        let rigs = args
            .rows
            .iter()
            .map(|rows| Rig::new(&args.bpf_dir, Cluster::new(*rows, prefixes)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for case in Case::ALL {
            let mut samples: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for round in 0..args.rounds {
                for (rig, rows) in rigs.iter().zip(&args.rows) {
                    let cost = rig.measure(case, round, args.repeat)?;
                    samples.entry(*rows).or_default().push(cost);
                }
            }
            results.push(result(case, prefixes, samples));
        }
    }
    report(args, results)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of one packet are small numbers"
)]
fn result(case: &Case, prefixes: Prefixes, samples: BTreeMap<u32, Vec<u64>>) -> Cost {
    let median = |(rows, mut costs): (u32, Vec<u64>)| {
        costs.sort_unstable();
        (rows, costs[costs.len() / 2])
    };
    let nanoseconds: BTreeMap<u32, u64> = samples.into_iter().map(median).collect();
    let cost = |of: Option<(&u32, &u64)>| of.map_or(f64::NAN, |(_, cost)| (*cost).max(1) as f64);
    let ratio = cost(nanoseconds.last_key_value()) / cost(nanoseconds.first_key_value());
    Cost {
        program: case.program,
        name: case.name,
        prefixes,
        nanoseconds,
        ratio: (ratio * 100.0).round() / 100.0,
    }
}

fn report(args: &BenchPrograms, results: Vec<Cost>) -> anyhow::Result<()> {
    if args.output == Output::Json {
        let kernel = nix::sys::utsname::uname().context("uname")?;
        return print::json(&Report {
            kernel: kernel.release().to_string_lossy().into_owned(),
            cpu: args.cpu,
            repeat: args.repeat,
            rounds: args.rounds,
            notes: NOTES,
            results,
        });
    }
    print::table(
        [
            "PROGRAM",
            "CASE",
            "PREFIXES",
            "NANOSECONDS BY ROWS",
            "RATIO",
        ],
        results.iter().map(|result| {
            let costs = result.nanoseconds.iter();
            let costs: Vec<String> = costs
                .map(|(rows, cost)| format!("{rows}: {cost}"))
                .collect();
            [
                result.program.to_owned(),
                result.name.to_owned(),
                result.prefixes.to_string(),
                costs.join(", "),
                format!("{:.2}", result.ratio),
            ]
        }),
    );
    print::line("");
    for note in NOTES {
        print::line(note);
    }
    Ok(())
}

/// A folder of pins that goes with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("weft: remove {}: {error}", self.0.display());
        }
    }
}

/// Programs over maps of their own, filled with the rows of a cluster.
struct Rig {
    object: Object,
    maps: Maps,
    cluster: Cluster,
    _folder: Folder,
}

impl Rig {
    fn new(bpf_dir: &Path, cluster: Cluster) -> anyhow::Result<Self> {
        let name = format!("weft-bench-{:016x}", rand::random::<u64>());
        let folder = Folder(bpf_dir.join(name));
        let mut object = load(&Pins::open(&folder.0)?)?;
        let mut maps = Maps::take(&mut object.ebpf)?;
        for write in diff(&compile(&cluster.world), &Tables::default()) {
            maps.write(&write)?;
        }
        for endpoint in cluster.world.endpoints.values() {
            maps.count(endpoint.host_ifindex)?;
        }
        Ok(Self {
            object,
            maps,
            cluster,
            _folder: folder,
        })
    }

    /// Nanoseconds of one packet; `round` picks the flow. Fails if the program does something else than the case says.
    fn measure(&self, case: &Case, round: u32, repeat: u32) -> anyhow::Result<u64> {
        let Case { program, name, .. } = case;
        let context = || format!("{program}: {name}");
        let frame = (case.frame)(&self.cluster, round).with_context(context)?;
        let dropped = || -> anyhow::Result<u64> {
            let drops = observe::maps::drops_by_reason(&self.maps)?;
            let reason = case.reason.and_then(|reason| drops.get(&reason).copied());
            Ok(reason.unwrap_or_default().packets)
        };
        let before = dropped()?;
        self.test_run(case, &frame, 1)?;
        ensure!(
            case.reason.is_none() || dropped()? == before + 1,
            "{program}: {name}: dropped for another reason than {:?}",
            case.reason
        );
        self.test_run(case, &frame, repeat)
    }

    fn test_run(&self, case: &Case, frame: &[u8], repeat: u32) -> anyhow::Result<u64> {
        let Case {
            program,
            name,
            code,
            ..
        } = case;
        let found = self.object.ebpf.program(program);
        let classifier: &SchedClassifier = found.context("no such program")?.try_into()?;
        // Without a context the packet is on the loopback device, whose index is 1 everywhere.
        let run = classifier
            .test_run(TestRunOptions {
                data_in: Some(frame),
                repeat,
                ..TestRunOptions::default()
            })
            .with_context(|| format!("{program}: {name}: run the program (as root)"))?;
        if run.return_value.cast_signed() != *code {
            bail!(
                "{program}: {name}: returned {}, not {code}: this would measure something else",
                run.return_value.cast_signed()
            );
        }
        Ok(u64::try_from(run.duration.as_nanos())?)
    }
}
