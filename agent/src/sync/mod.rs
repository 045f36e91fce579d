//! The loop that owns the data path. Everything that changes it comes through here, one request at a time.
//!
//! # Layout
//! - [`requests`]: what it can be asked, and what it does then
//! - [`shared`]: what other threads read: the world, problems, the state of the last pass
//! - `lag`: how far behind its objects the agent may be
//! - [`kernel`]: the data path in the kernel, and what it is known to hold
//! - `policies`, `resolving`: changes of egress policies, and of what their names stand for
//! - `retired`: sets of rows that nothing needs any more
//! - `room`: whether rows fit their maps, and what becomes of changes whose rows do not
//! - `asked`: names that the data path asks the agent to resolve
//! - `seed`: connections that are older than their project's first policy
//! - `sweep`: what the egress firewall leaves behind
//! - `names`: which addresses are in force for the names of policies
//! - [`pass`]: a full pass: observe, compile, diff, apply
//! - [`egress`]: tells the log whose egress policies do not count
//! - [`programs`]: its part about programs; takes over from another ABI
//! - `firewall`: its part about the node's firewall
//! - `foreign`: what stands before our programs
//! - [`damage`]: whether something that was there is gone; CHECK, and repair at once
//! - [`underlay`]: what the node's address means to the loop
//! - [`handle`]: how other threads ask; the CNI server's `DataPath`
//!
//! A change is compiled alone (its scope) and written at once. A full pass runs at the start, after changes that move the
//! host's own network, every few minutes, and with back-off after a failure; when nothing differs it writes nothing.
//! Before every kind of object was listed once, nothing is written: the pinned rows of the previous run stay in force.

mod asked;
mod damage;
mod egress;
mod egress_policies;
mod firewall;
mod foreign;
mod handle;
mod kernel;
mod lag;
mod names;
mod pass;
mod programs;
mod requests;
mod resolving;
mod retired;
mod room;
mod seed;
mod shared;
mod sweep;
mod underlay;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use weft_core::model::{Problem, World};

use crate::dns::{self, Resolver};
use crate::ingest;
use crate::netlink::announce::Watch;
use crate::observe::node::Underlay;
use crate::observe::removals;

pub use firewall::unjudged;
pub use foreign::Standings;
pub use handle::{Handle, pod_network};
pub use kernel::{Kernel, KernelError};
pub use lag::Lag;
use names::Names;
pub use requests::Request;
pub use shared::{PassState, Refusal, Shared};

/// Between full passes that nobody asked for.
const FULL_PASS_INTERVAL: Duration = Duration::from_mins(3);
/// After the first failed pass; doubles with each, up to the last. A pass costs milliseconds, and what it waits for (a module,
/// a port) may be there at any time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// The loop's own state.
struct Sync {
    shared: Arc<Shared>,
    kernel: Kernel,
    underlay: Underlay,
    resolver: Resolver,
    names: Names,
    /// Name servers whose answers count beside those of the resolver.
    trusted: BTreeSet<IpAddr>,
    synced: bool,
    /// What the last full pass could not do: the next one has its time.
    failures: Vec<String>,
    _removals: Watch,
    next_pass: Instant,
    retry: Duration,
    told: egress::Told,
}

/// The loop at work.
pub struct Running {
    /// To ask it.
    pub handle: Handle,
    /// Ends after [`Handle::stop`].
    pub thread: JoinHandle<()>,
    /// Drop events of the data path.
    pub events: RingBuf<MapData>,
}

/// Starts the loop on a thread of its own. `world` holds the node and the endpoints of the previous run; `found` is what
/// was wrong with that, shown until the next start.
pub fn spawn(
    bpf_dir: &Path,
    mut world: World,
    underlay: Underlay,
    dns: dns::Settings,
    found: Vec<Problem>,
) -> Result<Running, KernelError> {
    let (sender, receiver) = channel();
    let to_loop = sender.clone();
    let on_look = Box::new(move |look| {
        if to_loop.send(Request::Firewall(look)).is_err() {
            tracing::debug!("the sync loop has ended");
        }
    });
    let to_loop = sender.clone();
    let on_ended = Box::new(move |asked, ended| {
        if to_loop.send(Request::ProgramsEnded(asked, ended)).is_err() {
            tracing::debug!("the sync loop has ended");
        }
    });
    let (kernel, rings) = Kernel::open(bpf_dir, on_look, on_ended)?;
    let limits = dns.limits();
    let to_loop = sender.clone();
    let on_dns = move |event| {
        if to_loop.send(Request::Dns(event)).is_err() {
            tracing::debug!("the sync loop has ended");
        }
    };
    let resolver = dns::spawn(dns, on_dns).map_err(KernelError::Resolver)?;
    let trusted = world.egress.trusted.clone();
    // Known before the first pass, which would distrust them otherwise.
    let servers = resolver.servers();
    world
        .egress
        .trusted
        .extend(servers.iter().map(SocketAddr::ip));
    let to_loop = sender.clone();
    let shared = Arc::new(Shared::new(world, kernel.description(), found));
    let mut keeper = foreign::Keeper::new(Arc::clone(&shared)).map_err(KernelError::Lookout)?;
    let removals = removals::watch(&kernel.links_folder(), move |suspects| {
        let sent = to_loop.send(Request::Suspects(suspects.clone()));
        // Here, where no pod waits for the loop meanwhile.
        keeper.look(&suspects);
        if sent.is_err() {
            tracing::debug!("the sync loop has ended");
        }
    })
    .map_err(KernelError::Thread)?;
    let handle = Handle::new(sender, Arc::clone(&shared));
    let sync = Sync {
        shared,
        kernel,
        underlay,
        resolver,
        names: Names::new(limits),
        trusted,
        synced: false,
        failures: Vec::new(),
        _removals: removals,
        next_pass: Instant::now() + FULL_PASS_INTERVAL,
        retry: RETRY_FIRST,
        told: egress::Told::default(),
    };
    let kernel::Rings { drops, names } = rings;
    let asks = handle.requests();
    std::thread::Builder::new()
        .name("asked".into())
        .spawn(move || asked::run(names, &asks))
        .map_err(KernelError::Thread)?;
    let thread = std::thread::Builder::new()
        .name("sync".into())
        .spawn(move || sync.run(&receiver))
        .map_err(KernelError::Thread)?;
    Ok(Running {
        handle,
        thread,
        events: drops,
    })
}

/// Carries the store's events to the loop until either end is gone.
pub fn forward(events: Receiver<ingest::Event>, to: &Sender<Request>) {
    for event in events {
        if to.send(Request::Ingest(event)).is_err() {
            return;
        }
    }
}
