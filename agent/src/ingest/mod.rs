//! API objects -> model, strictly validated. API types end here.
//!
//! # Layout
//! - [`cluster_network`], [`host_subnet`], [`net_namespace`], [`egress_network_policy`]: one object each; pure
//! - `fields`: what their fields have in common
//! - `hosts`: HostSubnets that contradict each other
//! - [`Intake`]: all objects, and what of them is in force; pure
//! - [`spawn`]: the thread between a store and the sync loop

mod cluster_network;
mod egress_network_policy;
mod fault;
mod fields;
mod host_subnet;
mod hosts;
mod intake;
mod net_namespace;

use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use weft_core::model::{Change, Problem};

pub use cluster_network::cluster_network;
pub use egress_network_policy::egress_network_policy;
pub use fault::{Fault, Wrong};
pub(crate) use fields::host_address;
pub use fields::{API_VERSION, Invalid, Valid};
pub use host_subnet::{fits, host_subnet};
pub use intake::Intake;
pub use net_namespace::net_namespace;

use crate::store::{Delta, Notice, Store, StoreError, Watch, WatchStop};

/// What the store side tells the sync loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Real differences, to be taken as one step.
    Changes(Vec<Change>),
    /// The whole set of what is wrong replaces the one before.
    Problems(Vec<Problem>),
    /// Every object was told once. Comes once.
    Synced,
}

/// The running thread; it ends when this is dropped, or when nobody receives its events any more.
pub struct Ingest {
    stop: WatchStop,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread that watches a store.
pub fn spawn(store: &dyn Store, events: Sender<Event>) -> Result<Ingest, StoreError> {
    spawn_noting(store, events, |_| ())
}

/// The same; `note` sees each change of an object before it is validated. Be quick.
pub fn spawn_noting(
    store: &dyn Store,
    events: Sender<Event>,
    note: impl FnMut(&Delta) + Send + 'static,
) -> Result<Ingest, StoreError> {
    let watch = store.watch()?;
    let stop = watch.stopper();
    let thread = std::thread::Builder::new()
        .name("ingest".into())
        .spawn(move || run(&watch, &events, note))
        .map_err(|source| StoreError::Io {
            call: "start thread",
            path: "ingest".into(),
            source,
        })?;
    Ok(Ingest {
        stop,
        thread: Some(thread),
    })
}

fn run(watch: &Watch, events: &Sender<Event>, mut note: impl FnMut(&Delta)) {
    let mut intake = Intake::default();
    let mut told = Vec::new();
    for notice in &watch.notices {
        let mut news = Vec::new();
        match notice {
            Notice::Changed(deltas) => {
                deltas.iter().for_each(&mut note);
                let changes = intake.take(deltas);
                if !changes.is_empty() {
                    news.push(Event::Changes(changes));
                }
            }
            Notice::Problems(problems) => intake.take_store_problems(problems),
            Notice::Listed => news.push(Event::Synced),
        }
        let problems = intake.problems();
        if problems != told {
            told.clone_from(&problems);
            news.push(Event::Problems(problems));
        }
        if news.into_iter().any(|event| events.send(event).is_err()) {
            return;
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ingest thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
