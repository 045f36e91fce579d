//! One name: what it stands for, and where it is between two lookups.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::failure::{Failure, Failures};
use super::held::Held;
use super::lanes::LookupId;
use super::limits::Limits;
use super::resolution::{NameState, Resolution};

/// A name that policies hold (watched), that a pod asked for (once), or both.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is true or not whatever the others are"
)]
pub(super) struct Entry {
    pub(super) watched: bool,
    /// The next answer is an event of its own.
    pub(super) once: bool,
    pub(super) phase: Phase,
    /// When it is asked next; kept while it is being asked.
    pub(super) due: Instant,
    /// When the next address ends, as it stands in the schedule.
    pub(super) ends: Option<Instant>,
    /// When it was last asked.
    pub(super) asked: Option<Instant>,
    /// The last lookup took long.
    pub(super) slow: bool,
    /// The servers changed while it was being asked.
    pub(super) again: bool,
    /// Failures in a row, whole or of one family.
    pub(super) failures: u32,
    since: Instant,
    held: Held,
    last: Option<Last>,
    trouble: Option<Box<Trouble>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its time is in the schedule.
    Idle,
    /// It waits for its turn.
    Queued,
    Flying(LookupId),
}

/// The last answer.
#[derive(Clone, Copy, Debug)]
struct Last {
    ttl: Duration,
    at: Instant,
    server: SocketAddr,
}

#[derive(Debug)]
enum Trouble {
    /// Lookups failed, the first one then.
    Failed(Instant, Failures),
    /// The last answer lacks a family.
    Missing(Failure),
}

/// What makes a change worth an event, beside the addresses.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    answered: bool,
    failed: bool,
    missing: bool,
}

impl Entry {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            watched: false,
            once: false,
            phase: Phase::Idle,
            due: now,
            ends: None,
            asked: None,
            slow: false,
            again: false,
            failures: 0,
            since: now,
            held: Held::default(),
            last: None,
            trouble: None,
        }
    }

    /// Nobody watches it any more: what was known of it is forgotten.
    pub(super) fn forget(&mut self) {
        self.watched = false;
        self.held = Held::default();
        self.last = None;
        self.trouble = None;
        self.failures = 0;
    }

    /// A policy holds it from now on.
    pub(super) fn adopt(&mut self, now: Instant) {
        self.watched = true;
        self.since = now;
    }

    /// Takes an answer in; tells whether anybody needs to know, and how long until the next lookup at the least.
    pub(super) fn answered(
        &mut self,
        answer: &Answer,
        limits: &Limits,
        now: Instant,
    ) -> (bool, Duration) {
        let before = self.standing();
        let ttl = limits.ttl(answer.ttl());
        let old = self.last.map_or(ttl, |last| last.ttl);
        let grace_end = now + limits.grace(old, ttl);
        let moved = self.held.take(answer, grace_end, now);
        self.last = Some(Last {
            ttl,
            at: now,
            server: answer.server,
        });
        let wait = match answer.failure() {
            None => {
                self.failures = 0;
                self.trouble = None;
                ttl
            }
            Some(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.trouble = Some(Box::new(Trouble::Missing(failure.clone())));
                ttl.min(Limits::back_off(self.failures, Some(ttl)).max(limits.min_ttl))
            }
        };
        (moved || before != self.standing(), wait)
    }

    /// No server had an address: everything stays. As [`Self::answered`].
    pub(super) fn failed(&mut self, failures: Failures, now: Instant) -> (bool, Duration) {
        let before = self.standing();
        self.failures = self.failures.saturating_add(1);
        let since = match self.trouble.as_deref() {
            Some(Trouble::Failed(since, _)) => *since,
            _ => now,
        };
        self.trouble = Some(Box::new(Trouble::Failed(since, failures)));
        let wait = Limits::back_off(self.failures, self.last.map(|last| last.ttl));
        (before != self.standing(), wait)
    }

    /// Drops addresses whose grace is over; tells whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.held.expire(now)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.held.next_end()
    }

    pub(super) fn resolution(&self) -> Resolution {
        Resolution {
            addresses: self.held.to_map(),
            state: self.state(),
        }
    }

    fn state(&self) -> NameState {
        let trouble = self.trouble.as_deref();
        match (self.last, trouble) {
            (None, trouble) => NameState::Unresolved {
                since: self.since,
                error: match trouble {
                    Some(Trouble::Failed(_, failures)) => Some(failures.clone()),
                    Some(Trouble::Missing(_)) | None => None,
                },
                next_try: self.due,
            },
            (Some(Last { ttl, at, server }), Some(Trouble::Failed(since, failures))) => {
                NameState::Stale {
                    since: *since,
                    error: failures.clone(),
                    next_try: self.due,
                    ttl,
                    answered: at,
                    server,
                }
            }
            (Some(Last { ttl, at, server }), trouble) => NameState::Resolved {
                ttl,
                answered: at,
                next_refresh: self.due,
                server,
                missing: match trouble {
                    Some(Trouble::Missing(failure)) => Some(failure.clone()),
                    _ => None,
                },
            },
        }
    }

    fn standing(&self) -> Standing {
        let trouble = self.trouble.as_deref();
        Standing {
            answered: self.last.is_some(),
            failed: matches!(trouble, Some(Trouble::Failed(..))),
            missing: matches!(trouble, Some(Trouble::Missing(_))),
        }
    }
}
