//! The commands of `weft`, one file each.
//!
//! Exit code 0: done; 1: failed; 2: wrong usage. `explain` has its own.

mod agent;
mod bench_programs;
mod client;
mod cluster_status;
mod completion;
mod controller;
mod egress;
mod explain;
mod get;
mod install;
mod kubens;
mod log;
mod metrics;
mod monitor;
mod open_files;
pub mod plugin;
pub mod pod_network;
mod preflight;
mod print;
mod status;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::ConfigArgs;
use crate::controller::ControllerArgs;

/// weft: the network agent of a container cluster's node, and its admin command line
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node agent: pods, overlay, isolation, firewall of this node
    Agent(ConfigArgs),
    /// Run the controller: node subnets and project networks of the whole cluster; a second one waits as standby
    Controller(ControllerArgs),
    /// Join, isolate and open the networks of projects
    PodNetwork(pod_network::PodNetworkArgs),
    /// Tell whether this node's agent is ready, and everything that is wrong (exit code 1 if it is not ready)
    Status(Query),
    /// List what the agent knows
    #[command(subcommand)]
    Get(get::Get),
    /// Print each dropped packet with the reason and the two projects, until interrupted
    Monitor(Query),
    /// Tell what the data path would do with a pod's packet, and which egress rule decides
    ///
    /// The agent runs the data path's own decision code over the maps as they are now; no packet is sent. What lies beyond
    /// is not judged: iptables rules of the host, and the receiving node's admission. Exit code 0: allowed; 1: denied (for a
    /// name, to some of its addresses at least); 2: no answer.
    Explain(explain::Explain),
    /// Print the agent's figures as Prometheus reads them (GET /metrics on the admin socket)
    Metrics(ConfigArgs),
    /// Tell whether this node has what the agent needs, and what to do where it has not (exit code 1 if something fails)
    Preflight(preflight::Preflight),
    /// Put the CNI plugin and, as soon as the agent is ready, its configuration where the container runtime looks
    InstallCni(install::Install),
    /// Remove what install-cni put there
    UninstallCni(install::Uninstall),
    /// Keep the mounts of kubelet and container runtime off the host, in a mount namespace of their own
    #[command(subcommand)]
    Kubens(kubens::Kubens),
    /// Print a script that completes this program's command lines (bash, zsh, fish and others)
    Completion(completion::Completion),
    /// Measure what a packet costs in each eBPF program, by the number of rows in the maps (root)
    #[command(hide = true)]
    BenchPrograms(bench_programs::BenchPrograms),
}

/// Flags of commands that ask the agent.
#[derive(Args)]
pub struct Query {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people
    Table,
    /// JSON for programs
    Json,
}

/// Runs a command.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Agent(args) => agent::run(&args),
        Command::Controller(args) => controller::run(&args),
        Command::PodNetwork(args) => pod_network::run(&args),
        Command::Status(query) => status::run(&query),
        Command::Get(get) => get::run(&get),
        Command::Monitor(query) => monitor::run(&query),
        Command::Explain(args) => Ok(explain::run(&args)),
        Command::Metrics(config) => metrics::run(&config),
        Command::Preflight(args) => preflight::run(&args),
        Command::InstallCni(args) => install::install(&args),
        Command::UninstallCni(args) => install::uninstall(&args),
        Command::Kubens(command) => kubens::run(&command),
        Command::Completion(args) => Ok(completion::run(&args)),
        Command::BenchPrograms(args) => bench_programs::run(&args),
    }
}
