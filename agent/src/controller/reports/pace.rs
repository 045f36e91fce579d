//! When something may be written: each write goes to every agent of the cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::store::ObjectRef;

/// Writes that may come at once.
const BURST: u32 = 50;
/// And how soon each further one.
const EACH: Duration = Duration::from_millis(100);
/// Before what somebody undid is written again: this long, then twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// How long a write about the same with other nodes that have not followed waits after the last one: while many agents are
/// replaced, these change all the time.
const FOLLOWING: Duration = Duration::from_secs(10);

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
    written: BTreeMap<ObjectRef, Written>,
}

#[derive(Debug)]
struct Written {
    content: String,
    core: String,
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

    /// `content` is what would be written, `core` the same without the nodes that have not followed.
    pub(super) fn may(
        &mut self,
        key: &ObjectRef,
        (content, core): (&str, &str),
        now: Instant,
    ) -> May {
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
        let before = self.written.get(key);
        let moved = before.filter(|it| it.content != content && it.core == core);
        if moved.is_some_and(|it| now.duration_since(it.at) < FOLLOWING) {
            return May::Later;
        }
        let before = before.filter(|it| it.content == content);
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

    pub(super) fn wrote(
        &mut self,
        key: &ObjectRef,
        (content, core): (String, String),
        now: Instant,
    ) {
        let before = self.written.get(key).filter(|it| it.content == content);
        let wait = before.map_or(FIRST, |it| (it.wait * 2).min(LONGEST));
        let written = Written {
            content,
            core,
            at: now,
            wait,
        };
        self.written.insert(key.clone(), written);
    }

    pub(super) fn forget(&mut self, key: &ObjectRef) {
        self.written.remove(key);
    }
}
