//! The thread that follows the directory: inotify events, a rescan as a safety net, and a wait for a missing directory.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::document::Format;
use super::read::read;
use super::shared::Shared;
use crate::store::{StoreError, Watch};

/// After a finished write: files that are replaced together are read together.
const SETTLED: Duration = Duration::from_millis(3);
/// After a removal: editors move a file away before they write it anew.
const REMOVED: Duration = Duration::from_millis(20);
/// After a write that goes on: nobody wants half a file. Its end is an event of its own.
const WRITING: Duration = Duration::from_millis(200);
/// A file that is written without end is read nevertheless.
const WRITING_AT_MOST: Duration = Duration::from_secs(2);
/// How often a missing directory is looked for.
const MISSING: Duration = Duration::from_millis(200);
/// How often every file's stamp is looked at.
const RESCAN: Duration = Duration::from_secs(30);

/// What the watching thread is told.
pub(super) enum Input {
    Event(notify::Result<Event>),
    Stop,
}

struct Follower {
    shared: Arc<Shared>,
    watcher: RecommendedWatcher,
    /// Device and inode of the directory that inotify follows.
    followed: Option<(u64, u64)>,
    /// Files to read: when, and when they were first heard of.
    due: HashMap<PathBuf, (Instant, Instant)>,
    rescan_at: Instant,
}

/// Subscribes, and starts the thread if it does not run.
pub(super) fn watch(shared: &Arc<Shared>) -> Result<Watch, StoreError> {
    let (to, notices) = channel();
    let mut state = shared.lock();
    let start = state.watcher.is_none();
    if start {
        state.watcher = Some(start_thread(shared)?);
    }
    let id = state.subscribe(&shared.dir, to);
    drop(state);
    let weak = Arc::downgrade(shared);
    Ok(Watch::new(notices, move || {
        if let Some(shared) = weak.upgrade() {
            shared.lock().unsubscribe(id);
        }
    }))
}

fn start_thread(shared: &Arc<Shared>) -> Result<Sender<Input>, StoreError> {
    let fail = |reason: String| StoreError::Watch {
        path: shared.dir.clone(),
        reason,
    };
    let (inputs, receiver) = channel();
    let events = inputs.clone();
    let watcher = notify::recommended_watcher(move |event| {
        // The thread has ended: nobody wants the event.
        drop(events.send(Input::Event(event)));
    });
    let follower = Follower {
        shared: Arc::clone(shared),
        watcher: watcher.map_err(|e| fail(e.to_string()))?,
        followed: None,
        due: HashMap::new(),
        rescan_at: Instant::now(),
    };
    std::thread::Builder::new()
        .name("manifests".into())
        .spawn(move || follower.run(&receiver))
        .map_err(|e| fail(e.to_string()))?;
    Ok(inputs)
}

impl Follower {
    fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let now = Instant::now();
            if now >= self.rescan_at {
                self.rescan(now);
            }
            self.read_due(now);
            let next = self.due.values().map(|(at, _)| *at).min();
            let next = next.map_or(self.rescan_at, |at| at.min(self.rescan_at));
            match inputs.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Input::Event(event)) => self.event(event, Instant::now()),
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Looks at the whole directory; first sees to it that it is followed, so that nothing can change unseen.
    fn rescan(&mut self, now: Instant) {
        let identity = std::fs::metadata(&self.shared.dir).map(|meta| (meta.dev(), meta.ino()));
        let identity = identity.ok();
        if self.followed != identity {
            if self.followed.take().is_some() {
                // Fails if the directory is gone, and then there is nothing to end.
                drop(self.watcher.unwatch(&self.shared.dir));
            }
            let mode = RecursiveMode::NonRecursive;
            if identity.is_some() && self.watcher.watch(&self.shared.dir, mode).is_ok() {
                self.followed = identity;
            }
        }
        let busy = |path: &Path| self.due.contains_key(path);
        let scanned = self
            .shared
            .lock()
            .rescan_except(&self.shared.dir, busy)
            .is_ok();
        let well = scanned && self.followed.is_some();
        self.rescan_at = now + if well { RESCAN } else { MISSING };
    }

    fn read_due(&mut self, now: Instant) {
        let due = self.due.extract_if(|_, (at, _)| *at <= now);
        let mut files: Vec<PathBuf> = due.map(|(path, _)| path).collect();
        if files.is_empty() {
            return;
        }
        files.sort();
        let mut state = self.shared.lock();
        let readings = files.into_iter().map(|path| {
            let reading = read(&path);
            (path, reading)
        });
        let readings = readings.collect();
        state.take(&self.shared.dir, readings);
    }

    fn event(&mut self, event: notify::Result<Event>, now: Instant) {
        let Ok(event) = event else {
            self.rescan_at = now;
            return;
        };
        let wait = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_)) => SETTLED,
            EventKind::Access(_) => return,
            EventKind::Remove(_) => REMOVED,
            // New metadata comes in the midst of a write too, and says nothing about its end.
            _ => WRITING,
        };
        if event.need_rescan() {
            // The queue ran over: something was missed.
            self.rescan_at = now;
        }
        for path in event.paths {
            if path == self.shared.dir || is_link_farm(&path) {
                self.rescan_at = now;
            } else if Format::of(&path).is_some() {
                let moved_away = wait == SETTLED && !path.exists();
                let wait = if moved_away { REMOVED } else { wait };
                let first = self.due.get(&path).map_or(now, |(_, first)| *first);
                let at = (now + wait).min(first + WRITING_AT_MOST);
                self.due.insert(path, (at, first));
            }
        }
    }
}

/// The `..data` link through which Kubernetes swaps all files of a mounted ConfigMap at once.
fn is_link_farm(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}
