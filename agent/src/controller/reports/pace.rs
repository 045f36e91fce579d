//! When something may be written: each write goes to every agent of the cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::store::Key;

/// Writes that may come at once.
const BURST: u32 = 50;
/// And how soon each further one.
const EACH: Duration = Duration::from_millis(100);
/// Before what somebody undid is written again: this long, then twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// An answer of [`Pace::may`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    Write,
    /// It was written before, and somebody undid it.
    Again,
    /// Not this one.
    Later,
    /// Nothing more for now.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Pace {
    /// Writes that are free, as of a time.
    free: u32,
    as_of: Instant,
    written: BTreeMap<Key, Written>,
}

#[derive(Debug)]
struct Written {
    content: String,
    at: Instant,
    wait: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            free: BURST,
            as_of: now,
            written: BTreeMap::new(),
        }
    }

    pub(super) fn may(&mut self, key: &Key, content: &str, now: Instant) -> May {
        let earned = now.duration_since(self.as_of).as_millis() / EACH.as_millis();
        if let Ok(earned) = u32::try_from(earned)
            && earned > 0
        {
            self.free = self.free.saturating_add(earned).min(BURST);
            self.as_of = now;
        }
        if self.free == 0 {
            return May::Nothing;
        }
        let before = self.written.get(key).filter(|it| it.content == content);
        if let Some(before) = before
            && now.duration_since(before.at) < before.wait
        {
            return May::Later;
        }
        self.free -= 1;
        if before.is_some() {
            May::Again
        } else {
            May::Write
        }
    }

    pub(super) fn wrote(&mut self, key: &Key, content: String, now: Instant) {
        let before = self.written.get(key).filter(|it| it.content == content);
        let wait = before.map_or(FIRST, |it| (it.wait * 2).min(LONGEST));
        let written = Written {
            content,
            at: now,
            wait,
        };
        self.written.insert(key.clone(), written);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.written.remove(key);
    }
}
