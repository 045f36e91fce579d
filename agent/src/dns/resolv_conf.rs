//! The name servers of a file like `/etc/resolv.conf`, and its changes.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use resolv_conf::{Config, ScopedIp};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use weft_core::model::{Problem, Subject};

/// The port of name servers: the file cannot name another.
const PORT: u16 = 53;
/// After an event: a file that is written in steps is read once, when it is whole.
const SETTLED: Duration = Duration::from_millis(50);
/// How often the file is looked at without an event: its directory may not exist yet, and a file that is mounted over
/// another tells its directory nothing.
const LOOK: Duration = Duration::from_secs(2);
/// The rest of a larger file is not read.
const SIZE_MAX: u64 = 64 * 1024;
/// Links from one file to the next, at the most.
const LINKS_MAX: usize = 8;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The usable servers in order, each once.
    pub(super) servers: Vec<SocketAddr>,
    pub(super) problems: Vec<Problem>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Reading {
    match read_text(path) {
        Ok(text) => parse(path, &text),
        Err(error) => Reading::new(path, Vec::new(), vec![format!("cannot be read: {error}")]),
    }
}

fn read_text(path: &Path) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    std::fs::File::open(path)?
        .take(SIZE_MAX)
        .read_to_end(&mut text)?;
    Ok(text)
}

fn parse(path: &Path, text: &[u8]) -> Reading {
    let (config, errors) = Config::parse_with_errors(text);
    let (mut servers, mut faults) = (Vec::new(), Vec::new());
    for server in config.nameservers {
        match server {
            ScopedIp::V6(address, Some(scope)) => {
                faults.push(format!(
                    "name server {address}%{scope} is left out: it has a scope"
                ));
            }
            server => {
                let server = SocketAddr::new(server.into(), PORT);
                if !servers.contains(&server) {
                    servers.push(server);
                }
            }
        }
    }
    let lines: Vec<&[u8]> = text.split(|c| *c == b'\n').collect();
    for error in errors {
        use resolv_conf::ParseError as E;
        let (E::InvalidUtf8(i, _) | E::InvalidValue(i) | E::InvalidIp(i, _)) = error else {
            // An option of another resolver, which means nothing here.
            continue;
        };
        let line = lines.get(i).copied().unwrap_or_default().trim_ascii();
        if line.starts_with(b"nameserver") {
            let line = String::from_utf8_lossy(line);
            faults.push(format!("line {} is left out: {line:?}", i + 1));
        }
    }
    if servers.is_empty() {
        faults.push("names no usable name server".into());
    }
    Reading::new(path, servers, faults)
}

impl Reading {
    fn new(path: &Path, servers: Vec<SocketAddr>, faults: Vec<String>) -> Self {
        let kept = if servers.is_empty() {
            "the servers as last read stay in use: write `nameserver ADDRESS` lines"
        } else {
            "the other servers are used: mend the line"
        };
        let problem = |fault| Problem {
            object: Subject::Part(path.display().to_string()),
            message: format!("{fault}; {kept}"),
        };
        Self {
            servers,
            problems: faults.into_iter().map(problem).collect(),
        }
    }
}

/// Follows a file, beginning with a reading.
pub(super) struct Follower {
    path: PathBuf,
    readings: UnboundedSender<Reading>,
    /// None where inotify is not to be had: the file is then only looked at from time to time.
    watcher: Option<RecommendedWatcher>,
    events: UnboundedReceiver<()>,
    /// The directories of the file and of the links that lead to it.
    followed: BTreeSet<PathBuf>,
    last: Option<Reading>,
    look_at: Instant,
}

/// Follows the file, if there is one to follow; ends after each look at it. Safe to cancel.
pub(super) async fn follow(file: &mut Option<Follower>) {
    match file {
        Some(follower) => follower.follow().await,
        None => std::future::pending().await,
    }
}

impl Follower {
    pub(super) fn new(path: PathBuf, readings: UnboundedSender<Reading>) -> Self {
        let (sender, events) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the file is an event too.
            let idle = |event: &notify::Event| event.kind.is_access() && !is_written(event.kind);
            if !event.as_ref().is_ok_and(idle) && sender.send(()).is_err() {
                tracing::debug!("an event after the resolver's end");
            }
        });
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, path = %path.display(), "cannot follow the file: it is read every 2 s");
        });
        Self {
            path,
            readings,
            watcher: watcher.ok(),
            events,
            followed: BTreeSet::new(),
            last: None,
            look_at: Instant::now(),
        }
    }

    async fn follow(&mut self) {
        tokio::select! {
            Some(()) = self.events.recv() => {
                while self.events.try_recv().is_ok() {}
                self.look_at = self.look_at.min(Instant::now() + SETTLED);
            }
            () = tokio::time::sleep_until(self.look_at) => {
                self.look();
                self.look_at = Instant::now() + LOOK;
            }
        }
    }

    /// Reads the file; the directories first, so that no change goes unseen.
    fn look(&mut self) {
        self.follow_directories();
        let reading = read(&self.path);
        if self.last.as_ref() != Some(&reading) {
            self.last = Some(reading.clone());
            // The driver holds the other end for as long as it holds this.
            drop(self.readings.send(reading));
        }
    }

    fn follow_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = directories(&self.path);
        for gone in self.followed.difference(&wanted) {
            // Fails if the directory is gone, and then there is nothing to end.
            drop(watcher.unwatch(gone));
        }
        self.followed.retain(|directory| wanted.contains(directory));
        for directory in wanted {
            // Again each time: it may be another directory of the same name. One that is missing is tried again.
            if watcher
                .watch(&directory, RecursiveMode::NonRecursive)
                .is_ok()
            {
                self.followed.insert(directory);
            }
        }
    }
}

fn is_written(kind: notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// The directories of a path and of what it links to, link by link.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let Some(directory) = path.parent().map(Path::to_path_buf) else {
            break;
        };
        let Ok(target) = std::fs::read_link(&path) else {
            directories.insert(directory);
            break;
        };
        path = directory.join(target);
        directories.insert(directory);
    }
    directories
}

#[cfg(test)]
mod tests;
