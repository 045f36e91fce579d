//! The resolver's thread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use weft_core::model::Problem;
use weft_core::names::{Lookup, LookupId, News, Report, Step};

use super::ask::Upstreams;
use super::resolv_conf::{self, Reading};
use super::{Event, Settings, Shared};

/// Runs what [`weft_core::names`] decides.
pub(super) struct Driver {
    shared: Arc<Shared>,
    settings: Settings,
    events: Box<dyn Fn(Event) + Send>,
    upstreams: Upstreams,
    lookups: JoinSet<(LookupId, Report)>,
    /// How to end a running lookup.
    running: HashMap<LookupId, AbortHandle>,
    /// The same lookups by task: a task that panicked tells nothing else.
    tasks: HashMap<Id, LookupId>,
}

type Ended = Result<(Id, (LookupId, Report)), JoinError>;

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        events: Box<dyn Fn(Event) + Send>,
    ) -> Self {
        Self {
            upstreams: Upstreams::new(settings.timeout),
            shared,
            settings,
            events,
            lookups: JoinSet::new(),
            running: HashMap::new(),
            tasks: HashMap::new(),
        }
    }

    /// Until the resolver is dropped.
    pub(super) async fn run(mut self) {
        // The sender lives as long as the thread, so that the channel of a resolver without a file stays silent.
        let (readings_to, mut readings) = mpsc::unbounded_channel();
        let mut file = None;
        if self.settings.servers.is_none() {
            let path = self.settings.resolv_conf.clone();
            file = Some(resolv_conf::Follower::new(path, readings_to.clone()));
        }
        self.tell_start();
        while !self.shared.stopping.load(Ordering::Acquire) {
            let next = self.step();
            let next = next.map_or_else(far_away, tokio::time::Instant::from_std);
            tokio::select! {
                ended = self.lookups.join_next_with_id(), if !self.lookups.is_empty() => {
                    self.ended(ended);
                }
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                Some(reading) = readings.recv() => self.file_read(reading),
                () = resolv_conf::follow(&mut file) => {}
            }
        }
    }

    fn tell_start(&self) {
        let (servers, problems) = {
            let state = self.shared.lock();
            (state.names.servers(), state.problems.clone())
        };
        (self.events)(Event::Servers(servers));
        if !problems.is_empty() {
            (self.events)(Event::Problems(problems));
        }
    }

    /// Does what is due; tells when the next thing is.
    fn step(&mut self) -> Option<Instant> {
        let (step, next) = {
            let mut state = self.shared.lock();
            let step = state.names.advance(Instant::now());
            (step, state.names.next_at())
        };
        let Step { stop, start, news } = step;
        for id in stop {
            if let Some(task) = self.running.remove(&id) {
                self.tasks.remove(&task.id());
                task.abort();
            }
        }
        for lookup in start {
            self.start(lookup);
        }
        for news in news {
            (self.events)(match news {
                News::Changed(name, resolution) => Event::Changed(name, resolution),
                News::Once(name, addresses, ttl) => Event::Once(name, addresses, ttl),
            });
        }
        next
    }

    fn start(&mut self, Lookup { id, name, servers }: Lookup) {
        let lookup = self.upstreams.lookup(&name, &servers);
        let task = self.lookups.spawn(async move { (id, lookup.await) });
        self.tasks.insert(task.id(), id);
        self.running.insert(id, task);
    }

    /// Takes in all lookups that have ended.
    fn ended(&mut self, first: Option<Ended>) {
        let now = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let mut next = first;
        while let Some(ended) = next {
            let (task, report) = match ended {
                Ok((task, (_, report))) => (task, report),
                // An aborted task is none of ours any more; one that panicked counts as a failure.
                Err(error) => {
                    if error.is_panic() {
                        tracing::error!(%error, "a lookup panicked");
                    }
                    (error.id(), Report::default())
                }
            };
            if let Some(id) = self.tasks.remove(&task) {
                self.running.remove(&id);
                state.names.finished(id, report, now);
            }
            next = self.lookups.try_join_next_with_id();
        }
    }

    fn file_read(&mut self, reading: Reading) {
        // What was in force stays: a file without servers is usually one that is being written.
        let servers = if reading.servers.is_empty() {
            self.shared.lock().names.servers()
        } else {
            reading.servers
        };
        self.use_servers(&servers, reading.problems);
    }

    fn use_servers(&mut self, servers: &[SocketAddr], problems: Vec<Problem>) {
        let (new_servers, new_problems) = {
            let mut state = self.shared.lock();
            let new_servers = state.names.servers() != servers;
            state.names.set_servers(servers, Instant::now());
            let new_problems = state.problems != problems;
            state.problems.clone_from(&problems);
            (new_servers, new_problems)
        };
        if new_servers {
            self.upstreams.keep(servers);
            (self.events)(Event::Servers(servers.to_vec()));
        }
        if new_problems {
            (self.events)(Event::Problems(problems));
        }
    }
}

/// No timer at all would need a second form of the wait.
fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_hours(1)
}
