//! What to write, and when. Pure: time and chance are given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use weft_core::model::ObjectRef;

use super::said::{Said, field};
use crate::api::Unenforced;

/// What a node does not enforce for less than this is on its way.
const LASTING: Duration = Duration::from_secs(10);
/// Between two writes. Doubles with each one that failed, or that somebody undid.
const INTERVAL: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(5);
/// A write comes up to this much later by chance: what is news to one node is news to all of them at the same moment, and
/// each write goes to every agent of the cluster.
const SPREAD: Duration = Duration::from_secs(5);

/// Decides when the HostSubnet is to be written.
#[derive(Debug)]
pub struct Reporter {
    /// Since when a policy is not enforced.
    since: BTreeMap<ObjectRef, Instant>,
    /// When that which differs may be written; `None` while nothing does.
    due: Option<Instant>,
    /// No write before this.
    next: Instant,
    /// Between the last write and the next one.
    wait: Duration,
    written: Option<Value>,
}

impl Reporter {
    /// One that has written nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            since: BTreeMap::new(),
            due: None,
            next: now,
            wait: INTERVAL,
            written: None,
        }
    }

    /// The field's value to write now, null to remove it. `found` is sorted, and `chance` is between 0
    /// and 1.
    pub fn look(
        &mut self,
        found: &[Unenforced],
        said: &Said,
        now: Instant,
        chance: f64,
    ) -> Option<Value> {
        let old = std::mem::take(&mut self.since);
        self.since = found
            .iter()
            .map(|it| {
                let since = old.get(&it.object).copied().unwrap_or(now);
                (it.object.clone(), since)
            })
            .collect();
        let Said::Field(is) = said else {
            self.due = None;
            return None;
        };
        // What the object names already has lasted: an agent that was replaced neither takes it back nor tells it again.
        let told = said.policies();
        let lasts = |it: &&Unenforced| {
            let since = self.since.get(&it.object);
            told.contains(&it.object)
                || since.is_some_and(|since| now.duration_since(*since) >= LASTING)
        };
        let wanted = field(found.iter().filter(lasts));
        if wanted == *is {
            self.due = None;
            return None;
        }
        let due = self
            .due
            .get_or_insert_with(|| now.max(self.next) + SPREAD.mul_f64(chance));
        (*due <= now).then_some(wanted)
    }

    /// Whether the object says what it should, so that nothing is to be written.
    pub fn is_settled(&self) -> bool {
        self.due.is_none()
    }

    /// It is written.
    pub fn wrote(&mut self, value: Value, now: Instant) {
        if self.written.as_ref() == Some(&value) {
            // Somebody has undone it.
            self.wait = (self.wait * 2).min(LONGEST);
        } else {
            self.wait = INTERVAL;
        }
        self.written = Some(value);
        self.attempted(now);
    }

    /// It could not be written.
    pub fn failed(&mut self, now: Instant) {
        self.attempted(now);
        self.wait = (self.wait * 2).min(LONGEST);
    }

    fn attempted(&mut self, now: Instant) {
        self.due = None;
        self.next = now + self.wait;
    }
}
