//! Benchmarks: weft beside its peers in one run, in turns, so that what the machine does meanwhile hits all alike.
//!
//! # Layout
//! - [`stats`], [`report`], [`machine`]: numbers, tables, where they come from
//! - [`space`], [`link`], `redirect`, [`load`]: namespaces, connections made by hand, TCP load
//! - [`attach`], [`floor`], [`cluster`]: pods by CNI plugins, by bare netlink, and weft's own cluster
//! - [`traffic`], [`attachment`], [`programs`], [`verdict`], [`egress`], [`changes`]: the measurements

pub mod attach;
pub mod attachment;
pub mod changes;
pub mod cluster;
pub mod egress;
pub mod floor;
pub mod link;
pub mod load;
pub mod machine;
pub mod programs;
mod redirect;
pub mod report;
pub mod space;
pub mod stats;
pub mod traffic;
pub mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::builder::TypedValueParser as _;
use clap::{Parser, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use cluster::Cluster;
use machine::Machine;
use report::Table;

/// Projects of the benchmark's pods.
pub const PROJECTS: [&str; 2] = ["bench-a", "bench-b"];

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Throughput and round trips between two pods of one node
    SameNode,
    /// The same across two nodes
    CrossNode,
    /// CNI ADD and DEL, a burst, the agent's memory and start
    Attach,
    /// One packet in each program, also by egress rules
    Programs,
    /// From `weft pod-network` to the changed verdict
    Verdict,
    /// The egress firewall: traffic beside iptables, from a change to the verdict, memory
    Egress,
    /// What one change costs the agent of a node in a large cluster, and a pod meanwhile
    Changes,
}

/// Measures weft beside its peers and prints Markdown tables; every single sample goes into a file. Needs root.
#[derive(Debug, Parser)]
#[command(name = "weft-bench")]
pub struct Options {
    /// What to measure [default: everything]
    groups: Vec<Group>,
    /// Rounds of each measurement, after one that warms up
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(5..=1000).map(usize::from))]
    rounds: usize,
    /// Length of one traffic measurement, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u16,
    /// CNI ADDs of each plugin
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(20..).map(usize::from))]
    samples: usize,
    /// Changes of each kind in a large cluster
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(10..=5_000).map(usize::from))]
    changes: usize,
    /// Leave weft out
    #[arg(long)]
    peers_only: bool,
    /// Where the file goes [default: target/bench]
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(skip)]
    scratch: PathBuf,
}

impl Options {
    fn wants(&self, group: Group) -> bool {
        self.groups.is_empty() || self.groups.contains(&group)
    }

    /// Whether something is wanted that needs weft's own cluster.
    fn wants_cluster(&self) -> bool {
        !self.peers_only && !matches!(self.groups.as_slice(), [Group::Changes])
    }

    /// Length of one traffic measurement.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// Files that end with the run.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Never made if no measurement needed it.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("weft-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything asked for was measured.
fn run(mut options: Options) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "needs root");
    let machine = Machine::find();
    options.scratch = std::env::temp_dir().join(format!("weft-bench-{}", rand::random::<u64>()));
    let _scratch = Scratch(options.scratch.clone());
    end_on_signal(options.scratch.clone())?;
    // A namespace is a descriptor, and some measurements keep several hundred.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")?;

    println!("{machine}\n");
    let mut complete = true;
    let mut tables = vec![];
    let mut take = |group: &str, outcome: Result<Vec<Table>>| match outcome {
        Ok(found) => {
            for table in &found {
                println!("{}", table.markdown());
            }
            tables.extend(found);
        }
        Err(e) => {
            eprintln!("weft-bench: {group}: not measured: {e:#}");
            complete = false;
        }
    };
    let cluster = if options.wants_cluster() {
        Cluster::up(&PROJECTS)
            .map_err(|e| take("weft", Err(e)))
            .ok()
    } else {
        None
    };
    let weft = cluster.as_ref();
    if options.wants(Group::SameNode) {
        take(
            "same-node",
            traffic::same_node(&options, weft).map(|t| vec![t]),
        );
    }
    if options.wants(Group::CrossNode) {
        take(
            "cross-node",
            traffic::cross_node(&options, weft).map(|t| vec![t]),
        );
    }
    if options.wants(Group::Attach) {
        take("attach", attachment::run(&options, weft));
    }
    if let Some(cluster) = weft {
        if options.wants(Group::Programs) {
            take("programs", programs::run(&options, cluster));
        }
        if options.wants(Group::Verdict) {
            take("verdict", verdict::run(&options, cluster).map(|t| vec![t]));
        }
        if options.wants(Group::Egress) {
            for (name, measure) in egress::MEASUREMENTS {
                take(name, measure(&options, cluster).map(|t| vec![t]));
            }
        }
    }
    if !options.peers_only && options.wants(Group::Changes) {
        take("changes", changes::run(&options));
    }
    write(&options, &machine, &tables)?;
    Ok(complete)
}

fn write(options: &Options, machine: &Machine, tables: &[Table]) -> Result<()> {
    let directory = match &options.out {
        Some(directory) => directory.clone(),
        None => std::env::current_exe()?
            .ancestors()
            .nth(2)
            .unwrap_or(Path::new("."))
            .join("bench"),
    };
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let file = directory.join(format!("{now}.json"));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = serde_json::to_vec_pretty(&json!({
        "time": now, "machine": machine, "arguments": arguments, "tables": tables,
    }))?;
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    println!("Every sample: {}", file.display());
    Ok(())
}

/// Ctrl-C must not leave the lab behind. Handlers, not a blocked mask: child processes would inherit that.
fn end_on_signal(scratch: PathBuf) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("catch signals")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            drop(Scratch(scratch));
            cluster::abandon();
            std::process::exit(130);
        }
    });
    Ok(())
}
