//! `weft agent`: puts the parts together and runs until a signal.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use weft_core::model::{Change, EgressSettings, Problem, World};

use super::open_files;
use crate::api::{self, events::Feed};
use crate::cni::{self, Journal};
use crate::config::{Config, ConfigArgs, Source};
use crate::ingest;
use crate::netlink::Netlink;
use crate::not_in_force::{self, Said};
use crate::observe::node::{self, Choice};
use crate::observe::preflight::preflight;
use crate::store::{Delta, Kubernetes, Manifests, Reader, Store, StoreError};
use crate::sync::{self, Lag, Request};

/// How long CNI requests in work may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the agent. Everything in the kernel stays when it ends.
pub fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(args)?;
    super::log::init();
    check(&config)?;
    open_files::raise();

    // What the last run left is known before anything is judged by it.
    let journal = Journal::open(&config.state_dir)?;
    let recovered = journal.recover()?;
    let found: Vec<_> = recovered
        .problems
        .iter()
        .map(|message| journal_problem(message))
        .collect();
    tracing::info!(
        adopted = recovered.adopted.len(),
        undone = recovered.undone,
        "attachments of the last run"
    );

    let choice = Choice {
        name: config.node_name.clone(),
        ip: config.node_ip,
        interface: config.node_interface.clone(),
    };
    let underlay = node::observe(&mut Netlink::open()?, &choice)?;
    tracing::info!(node = %underlay.node.name, ip = %underlay.node.ip, interface = %underlay.interface, "this node");
    let mut world = World::new(underlay.node.clone());
    world.egress = egress_settings(&config);
    for endpoint in recovered.adopted {
        world.take(Change::Endpoint(endpoint.id.clone(), Some(endpoint)));
    }

    let feed = Feed::new();
    let sync::Running {
        handle,
        thread,
        events,
    } = sync::spawn(
        &config.bpf_dir,
        world,
        underlay,
        config.dns.settings(),
        found,
    )
    .map_err(|error| error.kept(&config.state_dir))?;
    let reader = {
        let (shared, feed) = (Arc::clone(handle.shared()), Arc::clone(&feed));
        move || api::events::run(events, &shared, &feed)
    };
    std::thread::Builder::new()
        .name("events".into())
        .spawn(reader)
        .context("start the event thread")?;

    let requests = handle.requests();
    let _node_watch = node::watch(choice, move |found| {
        if requests.send(Request::Node(found)).is_err() {
            tracing::debug!("the sync loop has ended");
        }
    })
    .context("watch the node's addresses")?;
    let (store, server) = open(&config.source)?;
    {
        let store = Arc::clone(&store);
        handle.shared().follow_store(move || Lag {
            stale: store.stale(),
            behind: store.behind(),
        });
    }
    let said = Arc::new(Mutex::new(Said::default()));
    let note = {
        let (said, node) = (Arc::clone(&said), handle.shared().world().node.name.clone());
        move |delta: &Delta| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.take(&node, delta);
        }
    };
    let (sender, objects) = channel();
    let _ingest = ingest::spawn_noting(store.as_ref(), sender, note)?;
    let _reporting = server
        .map(|server| not_in_force::spawn(handle.clone(), server, said))
        .transpose()
        .context("start the thread that tells what is not in force")?;
    let requests = handle.requests();
    std::thread::Builder::new()
        .name("objects".into())
        .spawn(move || sync::forward(objects, &requests))
        .context("start the object thread")?;

    let cni = cni::serve(&config.run_dir, journal, Arc::new(handle.clone()))?;
    let figures = cni.metrics();
    if let Some(address) = config.metrics_address {
        let told = api::Told {
            handle: handle.clone(),
            cni: Arc::clone(&figures),
        };
        crate::figures::serve::serve(address, Arc::new(told))?;
    }
    let outcome = serve(&config.run_dir, handle.clone(), feed, figures);
    cni.shutdown(PATIENCE);
    handle.stop();
    if thread.join().is_err() {
        bail!("the sync loop ended with a panic");
    }
    outcome
}

/// Where the objects are, and the same again if that is an API server.
type Sources = (Arc<dyn Store>, Option<Arc<Kubernetes>>);

fn open(source: &Source) -> Result<Sources, StoreError> {
    Ok(match source {
        Source::Manifests(dir) => (Arc::new(Manifests::new(dir)), None),
        Source::Kubernetes(access) => {
            let server = Arc::new(Kubernetes::open(access, Reader::Agent)?);
            (Arc::<Kubernetes>::clone(&server), Some(server))
        }
    })
}

fn egress_settings(config: &Config) -> EgressSettings {
    let default = EgressSettings::default();
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    EgressSettings {
        conflicts: config.egress_policy_conflicts,
        trusted: config.dns.trusted_servers.iter().copied().collect(),
        min_ttl: config.dns.min_ttl.map_or(default.min_ttl, seconds),
        grace: config.dns.grace.map(seconds),
        ..default
    }
}

/// Shown by status until the next start.
fn journal_problem(message: &str) -> Problem {
    tracing::warn!(problem = %message, "journal");
    Problem::of_part("attachments of the last run", message)
}

/// Refuses at once what cannot work, all of it in one message.
fn check(config: &Config) -> anyhow::Result<()> {
    let missing = preflight(&config.bpf_dir);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = missing.iter().map(|error| format!("\n  {error}")).collect();
    bail!("this machine cannot run the agent:{}", lines.concat())
}

/// The admin socket, until SIGTERM or SIGINT.
#[tokio::main(flavor = "current_thread")]
async fn serve(
    run_dir: &Path,
    handle: sync::Handle,
    feed: Arc<Feed>,
    figures: Arc<cni::metrics::Metrics>,
) -> anyhow::Result<ExitCode> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let listener = api::listen(run_dir)?;
    tracing::info!(folder = %run_dir.display(), "sockets are open");
    tokio::select! {
        ended = api::serve(listener, handle, feed, figures) => ended.context("the admin socket")?,
        _ = term.recv() => tracing::info!("SIGTERM: ending; forwarding goes on"),
        _ = int.recv() => tracing::info!("SIGINT: ending; forwarding goes on"),
    }
    Ok(ExitCode::SUCCESS)
}
