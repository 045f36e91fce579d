//! Contents and subscribers, shared between the watching thread and whoever lists and writes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weft_core::model::{Problem, Subject};

use super::contents::Contents;
use super::read::{Reading, read, scan};
use super::watch::Input;
use crate::store::{Delta, Listing, Notice, Object, ObjectRef};

/// A directory, what is in force in it, and who is told.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    state: Mutex<State>,
}

/// Guarded by one lock, so that everybody sees the same order of changes. Files are read under it too: a reading can
/// never be overtaken by a newer one.
#[derive(Default)]
pub(super) struct State {
    contents: Contents,
    /// Why the directory cannot be read at the moment, and since when.
    directory_error: Option<(String, Instant)>,
    /// Whether the directory was read once.
    listed: bool,
    subscribers: Vec<(u64, Sender<Notice>)>,
    next_subscriber: u64,
    told_problems: Vec<Problem>,
    /// To the watching thread, while there is one.
    pub(super) watcher: Option<Sender<Input>>,
}

impl Shared {
    pub(super) fn new(dir: PathBuf) -> Self {
        let state = Mutex::new(State::default());
        Self { dir, state }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed in a way that matters: the next scan mends it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn is_watched(&self) -> bool {
        self.watcher.is_some() && self.listed
    }

    /// How long the directory could not be read.
    pub(super) fn unread(&self) -> Duration {
        let error = self.directory_error.as_ref();
        error.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    pub(super) fn get(&self, key: &ObjectRef) -> Option<Arc<Object>> {
        self.contents.get(key)
    }

    pub(super) fn file_of(&self, key: &ObjectRef) -> Option<&PathBuf> {
        self.contents.file_of(key)
    }

    pub(super) fn listing(&self, dir: &Path) -> Listing {
        Listing {
            objects: self.contents.objects().collect(),
            problems: self.problems(dir),
        }
    }

    /// Adds a subscriber and tells it what is there.
    pub(super) fn subscribe(&mut self, dir: &Path, to: Sender<Notice>) -> u64 {
        let id = self.next_subscriber;
        self.next_subscriber += 1;
        let all = self.contents.objects().map(Delta::Put).collect();
        let mut first = vec![Notice::Changed(all), Notice::Problems(self.problems(dir))];
        if self.listed {
            first.push(Notice::Listed);
        }
        // A subscriber that is gone already is found at the next notice.
        if first.into_iter().all(|notice| to.send(notice).is_ok()) {
            self.subscribers.push((id, to));
        }
        id
    }

    /// Removes a subscriber; with the last one the watching thread ends.
    pub(super) fn unsubscribe(&mut self, id: u64) {
        self.subscribers.retain(|(other, _)| *other != id);
        if self.subscribers.is_empty()
            && let Some(watcher) = self.watcher.take()
        {
            drop(watcher.send(Input::Stop));
        }
    }

    /// Reads every file whose stamp changed. An error leaves everything in force as it is.
    pub(super) fn rescan(&mut self, dir: &Path) -> io::Result<()> {
        self.rescan_except(dir, |_| false)
    }

    /// As `rescan`, but leaves alone the files that somebody is writing.
    pub(super) fn rescan_except(
        &mut self,
        dir: &Path,
        busy: impl Fn(&Path) -> bool,
    ) -> io::Result<()> {
        let found = match scan(dir) {
            Ok(found) => found,
            Err(error) => {
                let since = self.directory_error.take().map(|(_, since)| since);
                self.directory_error =
                    Some((error.to_string(), since.unwrap_or_else(Instant::now)));
                self.tell(dir, Vec::new());
                return Err(error);
            }
        };
        self.directory_error = None;
        let gone = self.contents.files().filter(|file| {
            let known = found.binary_search_by(|(path, _)| path.cmp(file));
            known.is_err() && !busy(file)
        });
        let mut changes: Vec<_> = gone.map(|file| (file.clone(), None)).collect();
        for (path, stamp) in found {
            if !busy(&path) && !self.contents.is_current(&path, stamp) {
                let reading = read(&path);
                changes.push((path, reading));
            }
        }
        let first = !self.listed;
        self.listed = true;
        self.take(dir, changes);
        if first {
            self.send(&Notice::Listed);
        }
        Ok(())
    }

    /// Takes new states of files in and tells everybody.
    pub(super) fn take(&mut self, dir: &Path, files: Vec<(PathBuf, Option<Reading>)>) {
        let deltas = self.contents.take(files);
        self.tell(dir, deltas);
    }

    fn tell(&mut self, dir: &Path, deltas: Vec<Delta>) {
        if !deltas.is_empty() {
            self.send(&Notice::Changed(deltas));
        }
        let problems = self.problems(dir);
        if problems != self.told_problems {
            self.told_problems.clone_from(&problems);
            self.send(&Notice::Problems(problems));
        }
    }

    fn problems(&self, dir: &Path) -> Vec<Problem> {
        let mut problems = self.contents.problems();
        if let Some((error, _)) = &self.directory_error {
            problems.push(Problem {
                object: Subject::Part(dir.display().to_string()),
                message: format!(
                    "the manifests directory cannot be read: {error}; what was read before stays in force: create it \
                     or mend its permissions"
                ),
            });
        }
        problems
    }

    fn send(&mut self, notice: &Notice) {
        self.subscribers
            .retain(|(_, to)| to.send(notice.clone()).is_ok());
    }
}
