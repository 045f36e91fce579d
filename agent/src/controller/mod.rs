//! Allocates what is cluster-wide: node subnets and network numbers. Exactly one controller is active.
//!
//! Level-triggered: every pass looks at all objects and plans what is missing, so that a missed event, a crash or a
//! failed write is made up for by the next pass.
//!
//! # Layout
//! - [`annotations`]: the annotations it reads and writes
//! - `active`, `election`: at most one at a time, on a directory and on an API server
//! - [`figures`]: what it tells over TCP
//! - `plan`: objects -> writes; pure
//! - `subnets`, `projects`: the two halves of a plan; pure
//! - `reports`: what users of an API server see of their objects
//! - `subnet_allocator`, `vnid_allocator`, `change_network`: their decisions; pure

pub mod annotations;

mod active;
mod change_network;
mod election;
pub mod figures;
mod plan;
mod projects;
mod reports;
mod subnet_allocator;
mod subnets;
mod vnid_allocator;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use weft_core::model::{Kind, Problem, Subject};

use crate::config::{Config, Source, StoreArgs};
use crate::store::{Delta, Kubernetes, Manifests};
use crate::store::{Notice, Reader, Store, StoreError};
use election::Leadership;
use figures::Figures;
use plan::{Memory, Write};
use reports::Reports;

/// Flags of `weft controller`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ControllerArgs {
    /// Where the API objects are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Address and port of figures and probes over TCP, such as 127.0.0.1:9619 [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<std::net::SocketAddr>,
}

/// The controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The lock that keeps a second controller out cannot be had.
    #[error("{call} {}: {source}", path.display())]
    Lock {
        /// What was tried.
        call: &'static str,
        /// The lock file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The objects cannot be watched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The watch ended by itself.
    #[error("the watch of the API objects ended: restart the controller")]
    WatchEnded,
}

/// How soon `shutdown` is noticed.
const ATTENTION: Duration = Duration::from_millis(100);
/// How often everything is looked at though nothing happened: retries what failed.
const RESYNC: Duration = Duration::from_secs(10);

/// Runs until `shutdown` is set; as a standby while another controller is active.
pub fn run(
    config: &Config,
    shutdown: &Arc<AtomicBool>,
    figures: &Figures,
) -> Result<(), ControllerError> {
    match &config.source {
        Source::Manifests(dir) => {
            let Some(_active) = active::acquire(dir, shutdown)? else {
                return Ok(());
            };
            tracing::info!(manifests = %dir.display(), "this controller is active");
            serve(&Manifests::new(dir), None, shutdown, &|| true, figures)
        }
        Source::Kubernetes(access) => {
            let kubernetes = Kubernetes::open(access, Reader::Controller)?;
            let kubernetes = Arc::new(kubernetes.at_home_in(&config.lease_namespace));
            let server = kubernetes.server().to_owned();
            let store: Arc<dyn Store> = Arc::<Kubernetes>::clone(&kubernetes);
            let me = format!("{}_{:08x}", config.node_name, rand::random::<u32>());
            let lease = (config.lease_namespace.as_str(), me.as_str());
            while let Some(leadership) = Leadership::acquire(&store, lease, shutdown)? {
                tracing::info!(server, me, "this controller is active");
                let reports = Reports::new(
                    Arc::clone(&kubernetes),
                    me.clone(),
                    config.egress_policy_conflicts,
                );
                let active = || leadership.holds();
                let served = serve(store.as_ref(), Some(reports), shutdown, &active, figures);
                figures.standby();
                served?;
                if !shutdown.load(Ordering::Relaxed) {
                    tracing::warn!("the lease is lost: this controller is a standby again");
                }
            }
            Ok(())
        }
    }
}

/// Works until `shutdown` is set, or until it is not `active` any more.
fn serve(
    store: &dyn Store,
    mut reports: Option<Reports>,
    shutdown: &AtomicBool,
    active: &dyn Fn() -> bool,
    figures: &Figures,
) -> Result<(), ControllerError> {
    let watch = store.watch()?;
    figures.active();
    let mut memory = Memory::default();
    let mut told = Vec::new();
    let mut told_of_store = Vec::new();
    let mut listed = false;
    let mut next_pass = Instant::now() + RESYNC;
    let mut next_report = Instant::now();
    let mut unreported = Vec::new();
    while !shutdown.load(Ordering::Relaxed) && active() {
        let wait = next_pass.saturating_duration_since(Instant::now());
        let mut news = match watch.notices.recv_timeout(wait.min(ATTENTION)) {
            Ok(notice) => Some(notice),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(ControllerError::WatchEnded),
        };
        let mut due = Instant::now() >= next_pass;
        while let Some(notice) = news {
            match notice {
                Notice::Changed(deltas) => {
                    due |= deltas.iter().any(is_planned);
                    if let Some(reports) = &mut reports {
                        reports.take(deltas);
                    }
                }
                Notice::Listed => (due, listed) = (true, true),
                Notice::Problems(problems) => report(&mut told_of_store, problems),
            }
            news = watch.notices.try_recv().ok();
        }
        // Before everything was read once, an object that is missing may only not have been read.
        let mut settled = listed;
        if due && listed {
            let start = Instant::now();
            let (problems, wrote) = pass(store, &mut memory, reports.as_mut(), active);
            settled = !wrote;
            figures.passed(start.elapsed(), problems.len() + unreported.len());
            report(&mut told, problems);
            next_pass = Instant::now() + RESYNC;
        }
        // What a plan mended a moment ago is not worth a word: its writes are the next news.
        let look = settled && Instant::now() >= next_report;
        if let Some(reports) = reports.as_mut().filter(|_| look) {
            let problems = reports.pass(active);
            let wait = if problems.is_empty() {
                reports::INTERVAL
            } else {
                RESYNC
            };
            report(&mut unreported, problems);
            next_report = Instant::now() + wait;
        }
    }
    Ok(())
}

/// Whether a plan may follow from a change.
fn is_planned(delta: &Delta) -> bool {
    let key = match delta {
        Delta::Put(object) => &object.key,
        Delta::Gone(key) => key,
    };
    match key.kind {
        Kind::ClusterNetwork
        | Kind::HostSubnet
        | Kind::NetNamespace
        | Kind::Node
        | Kind::Namespace => true,
        Kind::EgressNetworkPolicy | Kind::Pod | Kind::Lease | Kind::Event | Kind::Other(_) => false,
    }
}

/// Plans, writes, and tells what is wrong, and whether there was anything to write.
fn pass(
    store: &dyn Store,
    memory: &mut Memory,
    mut reports: Option<&mut Reports>,
    active: &dyn Fn() -> bool,
) -> (Vec<Problem>, bool) {
    let listing = match store.list() {
        Ok(listing) => listing,
        Err(error) => {
            let problem = Problem {
                object: Subject::Part("API objects".into()),
                message: error.to_string(),
            };
            return (vec![problem], false);
        }
    };
    let plan = memory.plan(&listing, &mut |bound| rand::random_range(0..bound));
    let mut problems = plan.problems;
    let wrote = !plan.writes.is_empty();
    if let Some(reports) = reports.as_mut() {
        reports.unable(&listing, &problems);
    }
    for write in plan.writes {
        // Somebody else may be at work by now.
        if !active() {
            break;
        }
        let key = &write.object.key;
        let done = match write.how {
            Write::Create => store.create(&write.object).map(drop),
            Write::Update => store.update(&write.object).map(drop),
            Write::Delete => store.delete(&write.object),
        };
        match done {
            Ok(()) => {
                tracing::info!(object = %key, "{}", write.why);
                if let (Some(reports), Some(news)) = (reports.as_ref(), &write.news) {
                    reports.happened(&write.object, news);
                }
            }
            // Somebody was faster; the change comes as a notice, and a new plan with it.
            Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {
                tracing::debug!(object = %key, "changed meanwhile");
            }
            Err(error) => problems.push(Problem::with(key, error.to_string())),
        }
    }
    (problems, wrote)
}

fn report(told: &mut Vec<Problem>, problems: Vec<Problem>) {
    for problem in problems.iter().filter(|problem| !told.contains(problem)) {
        tracing::error!(object = %problem.object, "{}", problem.message);
    }
    for problem in told.iter().filter(|problem| !problems.contains(problem)) {
        tracing::info!(object = %problem.object, "mended: {}", problem.message);
    }
    *told = problems;
}

#[cfg(test)]
mod tests;
