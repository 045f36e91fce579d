//! Which of several controllers on an API server is active: whoever holds the Lease.
//!
//! # Layout
//! - `state`: whose it is, and what to write next; pure
//! - here: the thread that reads and writes it

mod state;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use weft_core::model::Kind;

use super::{ATTENTION, ControllerError};
use crate::store::{Object, ObjectRef, Store, StoreError};
use state::{Election, LEASE, LOOK, Record, Step};

const API_VERSION: &str = "coordination.k8s.io/v1";
const NAME: &str = "weft-controller";

/// The lease is ours until this is dropped, which gives it up, or until [`Leadership::holds`] says otherwise.
pub(super) struct Leadership {
    term: Arc<Term>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Leadership {
    /// Waits for the lease; `None` if `shutdown` came first.
    pub(super) fn acquire(
        store: &Arc<dyn Store>,
        (namespace, me): (&str, &str),
        shutdown: &AtomicBool,
    ) -> Result<Option<Self>, ControllerError> {
        let term = Arc::new(Term::default());
        let mut candidate = Candidate {
            store: Arc::clone(store),
            key: ObjectRef::namespaced(Kind::Lease, namespace, NAME),
            me: me.into(),
            election: Election::new(me.into()),
            term: Arc::clone(&term),
            told: String::new(),
        };
        let (stop, stopped) = channel();
        let run = move || {
            loop {
                candidate.turn();
                match stopped.recv_timeout(LOOK) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            candidate.give_up();
        };
        let thread = std::thread::Builder::new().name("lease".into()).spawn(run);
        let leadership = Self {
            term,
            stop: Some(stop),
            thread: Some(thread.map_err(ControllerError::Thread)?),
        };
        while !leadership.holds() {
            if shutdown.load(Ordering::Relaxed) {
                return Ok(None);
            }
            leadership.term.wait(ATTENTION);
        }
        Ok(Some(leadership))
    }

    /// Whether this controller may still act.
    pub(super) fn holds(&self) -> bool {
        self.term.holds()
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the lease thread panicked");
        }
    }
}

/// Until when the lease is ours; the candidate's thread sets it.
#[derive(Default)]
struct Term {
    until: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Term {
    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn set(&self, until: Option<Instant>) {
        *self.until() = until;
        self.changed.notify_all();
    }

    /// Waits until it is ours, but no longer than this.
    fn wait(&self, longest: Duration) {
        let others =
            |until: &mut Option<Instant>| until.is_none_or(|until| Instant::now() >= until);
        drop(
            self.changed
                .wait_timeout_while(self.until(), longest, others)
                .map_err(PoisonError::into_inner),
        );
    }
}

struct Candidate {
    store: Arc<dyn Store>,
    key: ObjectRef,
    me: String,
    election: Election,
    term: Arc<Term>,
    /// What was logged last, so that each state is logged once.
    told: String,
}

impl Candidate {
    /// Looks at the lease and writes it if it is our turn.
    fn turn(&mut self) {
        let outcome = self.try_turn();
        self.term.set(self.election.holds_until());
        match outcome {
            Ok(()) => {
                let holder = self.election.holder().unwrap_or_default();
                if holder != self.me && !holder.is_empty() {
                    let holder = holder.to_owned();
                    self.tell(holder.clone(), || {
                        tracing::info!(lease = %NAME, holder, "standby: another controller is active");
                    });
                } else {
                    self.told.clear();
                }
            }
            // Somebody else was faster; the next look says who.
            Err(StoreError::Conflict { .. } | StoreError::Exists { .. }) => {}
            Err(error) => self.tell(error.to_string(), || {
                tracing::error!(%error, "the lease of the controllers cannot be read or written");
            }),
        }
    }

    fn tell(&mut self, what: String, log: impl FnOnce()) {
        if self.told != what {
            log();
            self.told = what;
        }
    }

    fn try_turn(&mut self) -> Result<(), StoreError> {
        let lease = self.store.get(&self.key)?;
        let started = Instant::now();
        let record = lease.as_deref().map(record);
        let taken = record
            .as_ref()
            .is_some_and(|record| record.holder != self.me);
        match self.election.look(record, started) {
            Step::Wait => return Ok(()),
            Step::Create => {
                let object = Object::from_value(json!({
                    "apiVersion": API_VERSION, "kind": "Lease",
                    "metadata": {"namespace": self.key.namespace, "name": self.key.name},
                }));
                let object = object.map_err(|reason| StoreError::Unwritable {
                    object: self.key.clone(),
                    reason,
                })?;
                self.store.create(&held(&object, &self.me, true))?;
            }
            Step::Take | Step::Renew => {
                let Some(lease) = lease else { return Ok(()) };
                self.store.update(&held(&lease, &self.me, taken))?;
            }
        }
        self.election.wrote(started);
        Ok(())
    }

    /// Lets the next one begin at once.
    fn give_up(&mut self) {
        self.term.set(None);
        if self.election.holds_until().is_none() {
            return;
        }
        let outcome = match self.store.get(&self.key) {
            Ok(Some(lease)) if record(&lease).holder == self.me => {
                let mut free = held(&lease, "", false);
                set(&mut free, "leaseDurationSeconds", json!(1));
                self.store.update(&free).map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the lease could not be given up: the next controller waits until it expires");
        }
    }
}

fn record(lease: &Object) -> Record {
    let spec = |field: &str| {
        lease
            .value
            .pointer("/spec")
            .and_then(|spec| spec.get(field))
    };
    let text = |field| spec(field).and_then(Value::as_str).unwrap_or_default();
    let duration = spec("leaseDurationSeconds").and_then(Value::as_u64);
    Record {
        holder: text("holderIdentity").into(),
        duration: duration.map_or(LEASE, Duration::from_secs),
        renewed: text("renewTime").into(),
    }
}

/// The lease as it is while `holder` has it; everything else in it stays.
fn held(lease: &Object, holder: &str, new: bool) -> Object {
    let mut object = lease.clone();
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    set(&mut object, "holderIdentity", json!(holder));
    set(&mut object, "leaseDurationSeconds", json!(LEASE.as_secs()));
    set(&mut object, "renewTime", json!(now));
    if new {
        let transitions = object
            .value
            .pointer("/spec/leaseTransitions")
            .and_then(Value::as_u64);
        set(&mut object, "acquireTime", json!(now));
        set(
            &mut object,
            "leaseTransitions",
            json!(transitions.map_or(0, |n| n + 1)),
        );
    }
    object
}

fn set(lease: &mut Object, field: &str, to: Value) {
    let spec = lease.value.get("spec").and_then(Value::as_object);
    let mut spec: Map<String, Value> = spec.cloned().unwrap_or_default();
    spec.insert(field.into(), to);
    lease.set_field("spec", Value::Object(spec));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_written_as_other_programs_do() {
        let lease = Object::from_value(json!({
            "apiVersion": API_VERSION, "kind": "Lease", "metadata": {"namespace": "weft", "name": NAME},
            "spec": {"holderIdentity": "old", "leaseTransitions": 3, "strategy": "OldestEmulationVersion"},
        }))
        .unwrap();
        let taken = held(&lease, "me", true);
        let spec = &taken.value["spec"];
        assert_eq!(record(&taken).holder, "me");
        assert_eq!(record(&taken).duration, LEASE);
        assert_eq!(spec["leaseTransitions"], 4);
        assert_eq!(
            spec["strategy"], "OldestEmulationVersion",
            "what we do not know stays"
        );
        let time = spec["renewTime"].as_str().unwrap();
        assert!(
            time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000000Z".len(),
            "a MicroTime: {time}"
        );
        let renewed = held(&taken, "me", false);
        assert_eq!(renewed.value["spec"]["acquireTime"], spec["acquireTime"]);
        assert_eq!(renewed.value["spec"]["leaseTransitions"], 4);
    }
}
