//! The agent's own resolver: keeps the addresses of the names that policies use.
//!
//! When to ask and what an answer means is [`weft_core::names`]; here are the thread that drives it, the queries, and
//! the file that names the servers. Nothing is locked while a server is waited for.
//!
//! # Layout
//! - `drive`: the thread: runs lookups, waits, tells what happened
//! - `ask`: one lookup: servers in order, both families, over hickory
//! - `resolv_conf`: the name servers of a file, and its changes

mod ask;
mod drive;
mod resolv_conf;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tokio::sync::Notify;
use weft_core::model::{DnsName, Problem};
use weft_core::names::{Limits, Names, Resolution};

/// The file that names the servers when the configuration does not.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How the resolver works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name servers in the order to ask them; `None`: those of `resolv_conf`, followed as it changes.
    pub servers: Option<Vec<SocketAddr>>,
    /// The file, usually [`RESOLV_CONF`].
    pub resolv_conf: PathBuf,
    /// The shortest TTL; a smaller one, and 0, counts as this.
    pub min_ttl: Duration,
    /// The longest TTL.
    pub max_ttl: Duration,
    /// How long an address stays after it dropped out of an answer; `None`: one TTL, at least 30 s.
    pub grace: Option<Duration>,
    /// How long one server is waited for, over UDP and over TCP.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            servers: None,
            resolv_conf: RESOLV_CONF.into(),
            min_ttl: limits.min_ttl,
            max_ttl: limits.max_ttl,
            grace: limits.grace,
            timeout: Duration::from_secs(3),
        }
    }
}

impl Settings {
    /// Bounds of what answers say.
    pub fn limits(&self) -> Limits {
        Limits {
            min_ttl: self.min_ttl,
            max_ttl: self.max_ttl,
            grace: self.grace,
        }
    }
}

/// What happened. Events come from the resolver's thread, in order; the callback must not wait for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Addresses of a watched name changed, or it became or ceased to be stale. It may have been taken out of the
    /// watched set a moment ago.
    Changed(DnsName, Resolution),
    /// The answer to [`Resolver::resolve_now`]: addresses and the TTL that counts.
    Once(DnsName, Vec<IpAddr>, Duration),
    /// The name servers in use, now and when they change.
    Servers(Vec<SocketAddr>),
    /// All that is wrong with the file of name servers, when it changes; nothing when it is mended.
    Problems(Vec<Problem>),
}

/// The resolver cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// No thread.
    #[error("start the resolver's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// No event loop.
    #[error("make the resolver's event loop: {0}")]
    Runtime(#[source] std::io::Error),
}

/// A running resolver; it ends, and no more events come, when this is dropped.
#[derive(Debug)]
pub struct Resolver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What callers and the thread share.
#[derive(Debug)]
struct Shared {
    /// Held for moments only: never over I/O, never while an event is told.
    state: Mutex<State>,
    /// Something was asked of the thread.
    wake: Notify,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct State {
    names: Names,
    problems: Vec<Problem>,
}

/// Starts a resolver that watches nothing yet.
pub fn spawn(
    settings: Settings,
    events: impl Fn(Event) + Send + 'static,
) -> Result<Resolver, ResolverError> {
    let pick = |span: Duration| rand::rng().random_range(Duration::ZERO..=span);
    let mut names = Names::new(settings.limits(), Box::new(pick));
    let mut problems = Vec::new();
    let now = Instant::now();
    if let Some(servers) = &settings.servers {
        names.set_servers(servers, now);
    } else {
        let reading = resolv_conf::read(&settings.resolv_conf);
        names.set_servers(&reading.servers, now);
        problems = reading.problems;
    }
    let shared = Arc::new(Shared {
        state: Mutex::new(State { names, problems }),
        wake: Notify::new(),
        stopping: AtomicBool::new(false),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ResolverError::Runtime)?;
    let driver = drive::Driver::new(Arc::clone(&shared), settings, Box::new(events));
    let thread = std::thread::Builder::new()
        .name("dns".into())
        .spawn(move || runtime.block_on(driver.run()))
        .map_err(ResolverError::Thread)?;
    Ok(Resolver {
        shared,
        thread: Some(thread),
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver {
    /// Replaces the whole set of watched names; names that are not in it are forgotten.
    pub fn watch(&self, names: BTreeSet<DnsName>) {
        self.shared.lock().names.watch(names, Instant::now());
        self.shared.wake.notify_one();
    }

    /// Asks for a name now, watched or not, at most once a second a name. An answer comes as [`Event::Once`]; a
    /// failure is not told, and not tried again.
    pub fn resolve_now(&self, name: DnsName) {
        let taken = self.shared.lock().names.resolve_now(name, Instant::now());
        if taken {
            self.shared.wake.notify_one();
        } else {
            tracing::debug!("too many names are being asked for: one is not asked");
        }
    }

    /// The name servers in use, in the order of the configuration.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.shared.lock().names.servers()
    }

    /// What is in force for every watched name.
    pub fn snapshot(&self) -> BTreeMap<DnsName, Resolution> {
        self.shared.lock().names.snapshot()
    }

    /// What is wrong with the file of name servers.
    pub fn problems(&self) -> Vec<Problem> {
        self.shared.lock().problems.clone()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            // A callback that drops the resolver cannot wait for itself.
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the resolver's thread panicked");
        }
    }
}
