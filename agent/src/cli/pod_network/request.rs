//! Requests to the controller and its answers.

use std::collections::BTreeMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde::Serialize;
use weft_core::model::Kind;

use crate::controller::annotations::{self, CHANGE_NETWORK, REQUEST_ID, RESULT, Verdict};
use crate::store::{Delta, Notice, Object, ObjectRef, Store, StoreError};

/// What became of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is in its new network.
    Applied,
    /// The controller refused; nothing changed.
    Refused,
    /// The request could not be made, or was not answered; nothing changed.
    Failed,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Failed => "failed",
        })
    }
}

/// One project's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The project.
    pub project: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, unless it was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// VNID before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// VNID after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
}

/// How often a request is made anew when somebody else changes the object at the same time.
const ATTEMPTS: usize = 10;

/// Makes one request for each project and waits for the answers; reports in the order of the projects. A request that is
/// not answered in time is withdrawn, so that it cannot take effect behind anybody's back.
pub fn change(
    store: &dyn Store,
    projects: &[String],
    request: &str,
    timeout: Duration,
) -> Result<Vec<Report>, StoreError> {
    let deadline = Instant::now() + timeout;
    // Before the first request, so that no answer can be missed.
    let watch = store.watch()?;
    let id = format!("{:016x}", rand::random::<u64>());
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    let mut waiting: BTreeMap<String, Wait> = BTreeMap::new();
    for project in projects {
        match ask(store, project, request, &id) {
            Ok(version) => drop(waiting.insert(
                project.clone(),
                Wait {
                    version,
                    asked: false,
                },
            )),
            Err(reason) => drop(reports.insert(project.clone(), failed(project, reason))),
        }
    }
    while !waiting.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let deltas = match watch.notices.recv_timeout(left) {
            Ok(Notice::Changed(deltas)) => deltas,
            Ok(_) => continue,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        };
        for delta in deltas {
            let (key, object) = match delta {
                Delta::Put(object) => (object.key.clone(), Some(object)),
                Delta::Gone(key) => (key, None),
            };
            if key.kind == Kind::NetNamespace
                && let Some(wait) = waiting.get_mut(&key.name)
                && let Some(report) = wait.look(&key.name, object.as_deref(), &id)
            {
                waiting.remove(&key.name);
                reports.insert(key.name, report);
            }
        }
    }
    for project in waiting.into_keys() {
        let report = withdraw(store, &project, &id);
        reports.insert(project, report);
    }
    Ok(projects.iter().filter_map(|p| reports.remove(p)).collect())
}

/// A request that was made.
struct Wait {
    /// The version that carries it.
    version: String,
    /// Whether the watch has told that version; what it tells before is older.
    asked: bool,
}

impl Wait {
    fn look(&mut self, project: &str, object: Option<&Object>, id: &str) -> Option<Report> {
        let Some(object) = object else {
            return self
                .asked
                .then(|| failed(project, "its NetNamespace was removed meanwhile"));
        };
        self.asked |= object.version == self.version;
        if let Some(report) = answer(object, id) {
            return Some(report);
        }
        let ours = object.annotation(REQUEST_ID) == Some(id);
        (self.asked && !ours).then(|| {
            let reason =
                "another request took the place of this one: look at its outcome, then ask again";
            failed(project, reason)
        })
    }
}

/// Puts the request on the project's NetNamespace and answers its version.
fn ask(store: &dyn Store, project: &str, request: &str, id: &str) -> Result<String, String> {
    for _ in 0..ATTEMPTS {
        let mut object = find(store, project)?;
        object.set_annotation(CHANGE_NETWORK, Some(request));
        object.set_annotation(REQUEST_ID, Some(id));
        object.set_annotation(RESULT, None);
        match store.update(&object) {
            Ok(written) => return Ok(written.version.clone()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("somebody else keeps changing its NetNamespace: try again".into())
}

/// Takes an unanswered request back, unless the answer came at the last moment.
fn withdraw(store: &dyn Store, project: &str, id: &str) -> Report {
    let no_answer = "no answer from the controller: is `weft controller` running on these objects? The request \
                     was withdrawn";
    for _ in 0..ATTEMPTS {
        let mut object = match find(store, project) {
            Ok(object) => object,
            Err(reason) => return failed(project, reason),
        };
        if let Some(report) = answer(&object, id) {
            return report;
        }
        if object.annotation(REQUEST_ID) != Some(id) {
            return failed(project, no_answer);
        }
        object.set_annotation(CHANGE_NETWORK, None);
        object.set_annotation(REQUEST_ID, None);
        match store.update(&object) {
            Ok(_) => return failed(project, no_answer),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => {
                return failed(
                    project,
                    format!("no answer, and the request stands: {error}"),
                );
            }
        }
    }
    failed(project, "no answer, and the request could not be withdrawn")
}

fn find(store: &dyn Store, project: &str) -> Result<Object, String> {
    let found = store.get(&ObjectRef::cluster(Kind::NetNamespace, project));
    let object = found.map_err(|e| e.to_string())?;
    object.as_deref().cloned().ok_or_else(|| {
        "no such project, or the controller has not given it a network yet".to_owned()
    })
}

/// The answer to the request of this id.
fn answer(object: &Object, id: &str) -> Option<Report> {
    let outcome = annotations::Outcome::of(object).filter(|o| o.id.as_deref() == Some(id))?;
    Some(Report {
        project: object.key.name.clone(),
        outcome: match outcome.outcome {
            Verdict::Applied => Outcome::Applied,
            Verdict::Refused => Outcome::Refused,
        },
        reason: outcome.reason,
        from: outcome.from,
        to: outcome.to,
    })
}

fn failed(project: &str, reason: impl Into<String>) -> Report {
    Report {
        project: project.to_owned(),
        outcome: Outcome::Failed,
        reason: Some(reason.into()),
        from: None,
        to: None,
    }
}
