//! What this node does not enforce although it is valid, told in the status of its own HostSubnet.
//!
//! Conditions of policies are the controller's, which judges by the objects alone. What only the node knows is that its maps are
//! full, or that it is stuck: it says so in one list, from which the controller names the node. What follows from the
//! objects is not repeated here, since that would be a write a node for one fact of the cluster.
//!
//! # Layout
//! - [`Said`]: what the object says, and the form of it; pure
//! - [`Reporter`]: what to write, and when; pure
//! - [`spawn`]: the thread that looks and writes

mod reporter;
mod said;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use weft_core::model::{Kind, Problem, Subject};

use crate::api;
use crate::store::{Kubernetes, ObjectRef, StoreError};
use crate::sync::Handle;

pub use reporter::Reporter;
pub use said::{FIELD, Said};

/// Between two looks at the data path.
const LOOK: Duration = Duration::from_secs(2);

/// The running thread; it ends soon after this is dropped.
pub struct Reporting {
    _ends: Sender<()>,
}

/// Starts the thread. `said` follows the node's HostSubnet.
pub fn spawn(
    handle: Handle,
    store: Arc<Kubernetes>,
    said: Arc<Mutex<Said>>,
) -> io::Result<Reporting> {
    let (ends, ended) = channel();
    std::thread::Builder::new()
        .name("not-in-force".into())
        .spawn(move || run(&handle, &store, &said, &ended))?;
    Ok(Reporting { _ends: ends })
}

fn run(handle: &Handle, store: &Kubernetes, said: &Mutex<Said>, ended: &Receiver<()>) {
    let mut reporter = Reporter::new(Instant::now());
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        look(handle, store, &said, &mut reporter);
    }
}

fn look(handle: &Handle, store: &Kubernetes, said: &Said, reporter: &mut Reporter) {
    let shared = handle.shared();
    // Before the first pass the data path is as the last run left it, and the objects are not known.
    if shared.pass().passes == 0 {
        return;
    }
    let found = match api::unenforced(handle) {
        Ok(found) => found,
        Err(error) => return tracing::debug!(%error, "policies that are not in force"),
    };
    let wanted = reporter.look(&found, said, Instant::now(), rand::random());
    let Some(wanted) = wanted else {
        if reporter.is_settled() {
            shared.untold(None);
        }
        return;
    };
    let key = ObjectRef::cluster(Kind::HostSubnet, &shared.world().node.name);
    match store.patch_status(&key, &json!({ FIELD: wanted })) {
        Ok(()) => {
            tracing::info!(object = %key, policies = %wanted, "told which policies are not in force");
            reporter.wrote(wanted, Instant::now());
            shared.untold(None);
        }
        // Removed a moment ago: the watch will tell.
        Err(StoreError::NotFound { .. }) => reporter.failed(Instant::now()),
        Err(error) => {
            reporter.failed(Instant::now());
            shared.untold(Some(Problem {
                object: Subject::Status(key),
                message: format!("{error}; which policies are not in force here is not told"),
            }));
        }
    }
}

#[cfg(test)]
mod tests;
