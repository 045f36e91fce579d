//! What users of an API server see of their objects: conditions in their status, and Kubernetes Events.
//!
//! One writer for the cluster: what is told here follows from the objects alone, so that no node has to say it; a node is
//! named only where it has not followed. A policy is written about whether it is in force or not. There may be thousands of the other kinds, each of which goes
//! to every agent with each change: they are written about when something is wrong with them, and when it is mended.
//!
//! # Layout
//! - `followers`: which nodes may not have followed; pure
//! - `judge`: objects -> verdicts, by the same ingest and the same decisions as the agents'; pure
//! - `condition`: verdict and object -> the status to write, and whether it is news; pure
//! - `event`: news -> an Event; pure
//! - `pace`: when something may be written; pure
//! - here: writes

mod condition;
mod event;
mod followers;
mod judge;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use weft_core::model::{Conflicts, Kind, Problem, Subject};

use crate::store::{Delta, Kubernetes, Listing, Object, ObjectRef, Store, StoreError};
use condition::wanted;
pub(super) use event::News;
use event::event;
use followers::Followers;
use judge::{Judge, Verdict};
use pace::{May, Pace};

/// At least this long between two looks at all objects.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// A problem that stands as long as this is none that goes away by itself, such as a Node that has no address yet.
const LASTING: Duration = Duration::from_secs(5);

/// Reports while this controller is active.
pub(super) struct Reports {
    store: Arc<Kubernetes>,
    /// Names this controller in events.
    me: String,
    judge: Judge,
    followers: Followers,
    pace: Pace,
    /// Objects whose status the server does not take, and why: the schema may refuse what was stored before it.
    unwritable: BTreeMap<ObjectRef, String>,
    /// What the plan cannot do: since when, and whether an event told it.
    standing: BTreeMap<Problem, (Instant, bool)>,
}

impl Reports {
    /// For a watch that begins; `conflicts` is what the agents have in their configuration.
    pub(super) fn new(store: Arc<Kubernetes>, me: String, conflicts: Conflicts) -> Self {
        Self {
            store,
            me,
            judge: Judge::new(conflicts),
            followers: Followers::default(),
            pace: Pace::new(Instant::now()),
            unwritable: BTreeMap::new(),
            standing: BTreeMap::new(),
        }
    }

    /// Takes in what the watch told.
    pub(super) fn take(&mut self, deltas: Vec<Delta>) {
        for delta in &deltas {
            self.followers.take(delta);
            if let Delta::Gone(key) = delta {
                self.pace.forget(key);
                self.unwritable.remove(key);
            }
        }
        self.judge.take(deltas);
    }

    /// Writes what is to be told of the objects, as far as the pace allows; the rest comes with a later look.
    pub(super) fn pass(&mut self, active: &dyn Fn() -> bool) -> Vec<Problem> {
        let Self {
            store,
            me,
            judge,
            followers,
            pace,
            unwritable,
            ..
        } = self;
        let start = Instant::now();
        let followed = judge.objects().filter(|(_, of)| of.followed);
        followers.look(followed.map(|(object, of)| (object, of.condition)), start);
        let mut problems = Vec::new();
        let mut refused = BTreeSet::new();
        for (object, of) in judge.objects() {
            let kind = &object.key.kind;
            // New nodes and projects do not wait for a slow server to take a status.
            if !active() || start.elapsed() > INTERVAL {
                break;
            }
            if refused.contains(kind) {
                continue;
            }
            let Some(mut verdict) = judge.verdict(&object.key) else {
                continue;
            };
            if of.followed {
                followers.complete(&object.key, &mut verdict);
            }
            match tell(object, &verdict, pace, (store, me)) {
                Ok(Told::Everything) => drop(unwritable.remove(&object.key)),
                Ok(Told::NothingMore) => break,
                // Where somebody was faster, the watch tells, and the next look is at what is there then.
                Ok(Told::NotNow)
                | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
                Err(StoreError::Unwritable { reason, .. }) => {
                    unwritable.insert(object.key.clone(), reason);
                }
                // The others of the kind would fare no better.
                Err(error) => {
                    refused.insert(kind);
                    let part = format!("status and events of {kind}");
                    problems.push(Problem::of_part(part, error.to_string()));
                }
            }
        }
        problems.extend(unwritable.iter().map(|(key, reason)| Problem {
            object: Subject::Status(key.clone()),
            message: format!("the server does not take it: {reason}; mend the object"),
        }));
        problems
    }

    /// Tells of a write that was made.
    pub(super) fn happened(&self, object: &Object, news: &News) {
        self.try_make(object, news);
    }

    /// Tells of what the plan could not do, once it lasts.
    pub(super) fn unable(&mut self, listing: &Listing, problems: &[Problem]) {
        let now = Instant::now();
        self.standing.retain(|known, _| problems.contains(known));
        for problem in problems {
            let (since, told) = *self.standing.entry(problem.clone()).or_insert((now, false));
            if told || now.duration_since(since) < LASTING {
                continue;
            }
            if let Some((object, reason)) = about(listing, &problem.object) {
                let news = News::warning(reason, problem.message.clone(), String::new());
                self.try_make(object, &news);
            }
            self.standing.insert(problem.clone(), (since, true));
        }
    }

    fn try_make(&self, object: &Object, news: &News) {
        if let Err(error) = make(object, news, (&self.store, &self.me)) {
            tracing::warn!(object = %object.key, reason = news.reason, %error, "the event is not told");
        }
    }
}

/// What came of an object's verdict.
enum Told {
    /// The object says it.
    Everything,
    /// The object's turn comes later.
    NotNow,
    /// Nothing may be written for now, of this one or another.
    NothingMore,
}

/// Writes what is to be told of one object, if it is its turn.
fn tell(
    object: &Object,
    verdict: &Verdict,
    pace: &mut Pace,
    by: (&Kubernetes, &str),
) -> Result<Told, StoreError> {
    let Some(wanted) = wanted(object, verdict, SystemTime::now()) else {
        return Ok(Told::Everything);
    };
    let now = Instant::now();
    let again = match pace.may(&object.key, (&wanted.content, &wanted.core), now) {
        May::Write => false,
        May::Again => true,
        May::Later => return Ok(Told::NotNow),
        May::Nothing => return Ok(Told::NothingMore),
    };
    // The event first: its name follows from what it tells, so that one that was made before a crash is not made twice.
    if let Some(news) = wanted.news.filter(|_| !again) {
        make(object, &news, by)?;
    }
    let written = by.0.update_status(&wanted.object);
    // What the server does not take now it will not take at the next look either.
    if matches!(written, Ok(()) | Err(StoreError::Unwritable { .. })) {
        pace.wrote(&object.key, (wanted.content, wanted.core), now);
    }
    written?;
    if again {
        tracing::warn!(object = %object.key, "somebody else writes the condition of this object too");
    }
    Ok(Told::Everything)
}

fn make(object: &Object, news: &News, (store, me): (&Kubernetes, &str)) -> Result<(), StoreError> {
    let event = event(object, news, me, SystemTime::now())?;
    match store.create(&event) {
        Ok(_) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The object that a problem of the plan is told about, and as what. Our own kinds have conditions for what is wrong with
/// them; a HostSubnet that could not be made is its Node's matter.
fn about<'a>(listing: &'a Listing, subject: &Subject) -> Option<(&'a Object, &'static str)> {
    let Subject::Object(object) = subject else {
        return None;
    };
    let (kind, reason) = match object.kind {
        Kind::Node => (Kind::Node, "NotInPodNetwork"),
        Kind::HostSubnet if listing.object(object).is_none() => (Kind::Node, "NotInPodNetwork"),
        Kind::Namespace => (Kind::Namespace, "NoNetwork"),
        Kind::HostSubnet
        | Kind::ClusterNetwork
        | Kind::NetNamespace
        | Kind::EgressNetworkPolicy
        | Kind::Pod
        | Kind::Lease
        | Kind::Event
        | Kind::Other(_) => return None,
    };
    let found = listing.get(kind, "", &object.name)?;
    Some((found.as_ref(), reason))
}

#[cfg(test)]
mod tests;
