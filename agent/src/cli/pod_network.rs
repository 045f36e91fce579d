//! `weft pod-network`: joins, isolates and opens projects.
//!
//! A request is an annotation that the controller answers (see [`crate::controller::annotations`]); this command waits for
//! each answer and tells it.

mod request;
mod selector;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use weft_core::model::{Kind, Mode, ObjectRef};

use super::{Output, print};
use crate::config::StoreArgs;
use crate::ingest::cluster_network;
use crate::store::{self, Listing, Reader};

pub use request::{Outcome, Report, change};
pub use selector::Selector;

/// Flags of `weft pod-network`.
#[derive(Debug, Args)]
pub struct PodNetworkArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put projects into the network of another project, so that their pods reach one another
    JoinProjects {
        /// The project whose network they join
        #[arg(long, value_name = "PROJECT")]
        to: String,
        #[command(flatten)]
        common: Common,
    },
    /// Give each project a network of its own, unless it has one
    IsolateProjects {
        #[command(flatten)]
        common: Common,
    },
    /// Let projects and all others reach one another
    MakeProjectsGlobal {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    targets: Targets,
    /// How long to wait for the controller, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 14)]
    timeout: u64,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Targets {
    /// Projects by name
    #[arg(value_name = "PROJECT")]
    projects: Vec<String>,
    /// Projects by the labels of their namespaces: `team=web,tier!=db,env in (a,b),!old`
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
}

/// Makes the requests and reports each answer. Exit code 0 if all were applied, 1 if not.
pub fn run(args: &PodNetworkArgs) -> anyhow::Result<ExitCode> {
    let (common, request, target) = match &args.command {
        Command::JoinProjects { to, common } => (common, format!("join:{to}"), Some(to)),
        Command::IsolateProjects { common } => (common, "isolate".to_owned(), None),
        Command::MakeProjectsGlobal { common } => (common, "global".to_owned(), None),
    };
    let config = common.store.load_as_kubectl()?;
    let store = store::open(&config.source, Reader::PodNetwork)?;
    let listing = store.list()?;
    check_mode(&listing)?;
    if let Some(to) = target
        && (to.contains(':') || listing.get(Kind::NetNamespace, "", to).is_none())
    {
        bail!("project {to:?} does not exist, or the controller has not given it a network yet");
    }
    let mut projects = projects(&common.targets, &listing)?;
    // A project that is the target is where it is to be.
    projects.retain(|project| Some(project) != target);
    let timeout = Duration::from_secs(common.timeout);
    let reports = change(store.as_ref(), &projects, &request, timeout)?;
    let all_applied = reports.iter().all(|r| r.outcome == Outcome::Applied);
    show(&reports, common.output)?;
    Ok(if all_applied {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check_mode(listing: &Listing) -> anyhow::Result<()> {
    let Some(object) = listing.object(&ObjectRef::cluster_network()) else {
        bail!("ClusterNetwork/default does not exist: create it first");
    };
    let network = cluster_network(object).context("ClusterNetwork/default is not valid")?;
    if network.mode != Mode::Multitenant {
        bail!(
            "the cluster network is not in the multitenant mode, so that projects have no networks of their own \
             (pluginName of ClusterNetwork/default)"
        );
    }
    Ok(())
}

fn projects(targets: &Targets, listing: &Listing) -> anyhow::Result<Vec<String>> {
    let Some(selector) = &targets.selector else {
        let mut projects: Vec<String> = Vec::new();
        for project in &targets.projects {
            if !projects.contains(project) {
                projects.push(project.clone());
            }
        }
        return Ok(projects);
    };
    let matching = listing
        .of_kind(Kind::Namespace)
        .filter(|o| selector.matches(o));
    let projects: Vec<String> = matching.map(|object| object.key.name.clone()).collect();
    if projects.is_empty() {
        bail!("no namespace has the labels {selector}");
    }
    Ok(projects)
}

fn show(reports: &[Report], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return print::json(&reports);
    }
    let header = ["PROJECT", "OUTCOME", "VNID", "REASON"];
    let number = |n: Option<u32>| n.map_or("-".to_owned(), |n| n.to_string());
    let rows = reports.iter().map(|report| {
        let vnid = match report.outcome {
            Outcome::Applied => format!("{} -> {}", number(report.from), number(report.to)),
            _ => number(report.from),
        };
        let reason = report.reason.clone().unwrap_or_default();
        [
            report.project.clone(),
            report.outcome.to_string(),
            vnid,
            reason,
        ]
    });
    print::table(header, rows);
    Ok(())
}

#[cfg(test)]
mod tests;
