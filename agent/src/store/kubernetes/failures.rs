//! What is wrong with the connection to the API server, kind by kind. A plain value.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::SystemTime;

use weft_core::model::{Kind, Problem, Subject};

use super::kinds::ServedKind;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No answer, or one that says "not now".
    Away(String),
    /// It does not know who we are.
    Unauthorized(String),
    /// It knows us and refuses; the message names user, verb and resource.
    Forbidden(String),
    /// It does not know the resource.
    NoSuchResource,
    /// Anything else.
    Other(String),
}

impl Cause {
    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                401 => Self::Unauthorized(status.message.clone()),
                403 => Self::Forbidden(status.message.clone()),
                404 => Self::NoSuchResource,
                // Its etcd is away, it is starting, or it has too much to do.
                429 | 500 | 502..=504 => Self::Away(status.message.clone()),
                _ => Self::Other(status.message.clone()),
            },
            kube::Error::Auth(error) => Self::Unauthorized(error.to_string()),
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
                Self::Away(innermost(error))
            }
            _ => Self::Other(innermost(error)),
        }
    }

    /// What is wrong and what to do, for whoever asked.
    pub(super) fn explained(&self, kind: &ServedKind) -> String {
        match self {
            Self::Away(reason) => format!("no answer: {reason}"),
            Self::Unauthorized(reason) => format!(
                "the server does not accept our credentials: {reason}; renew the token or certificate"
            ),
            Self::Forbidden(reason) => format!("{reason}; grant it to this account"),
            Self::NoSuchResource => no_such_resource(kind),
            Self::Other(reason) => reason.clone(),
        }
    }
}

fn no_such_resource(kind: &ServedKind) -> String {
    format!(
        "the server has no resource {}: install the custom resource definitions (deploy/crds)",
        kind.name()
    )
}

/// The outer errors only say that there is an inner one.
fn innermost(error: &kube::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    match error.source() {
        Some(_) => inner.to_string(),
        None => error.to_string(),
    }
}

/// A kind that cannot be followed at the moment.
#[derive(Clone, Debug)]
struct Failure {
    verb: &'static str,
    cause: Cause,
    since: SystemTime,
}

/// Every kind that cannot be followed at the moment.
#[derive(Debug)]
pub(super) struct Failures {
    server: String,
    of: BTreeMap<Kind, (&'static ServedKind, Failure)>,
}

impl Failures {
    pub(super) fn new(server: String) -> Self {
        Self {
            server,
            of: BTreeMap::new(),
        }
    }

    /// A request for a kind failed. Since when is that of the first failure in a row.
    pub(super) fn failed(
        &mut self,
        kind: &'static ServedKind,
        verb: &'static str,
        cause: Cause,
        now: SystemTime,
    ) {
        let since = self.of.get(&kind.kind).map_or(now, |(_, old)| old.since);
        let failure = Failure { verb, cause, since };
        self.of.insert(kind.kind.clone(), (kind, failure));
    }

    /// A request for a kind was answered. A list says nothing about a watch that is refused.
    pub(super) fn answered(&mut self, kind: &Kind, verb: &str) {
        let mended = self.of.get(kind).is_some_and(|(_, failure)| {
            let refused = matches!(failure.cause, Cause::Forbidden(_) | Cause::Other(_));
            failure.verb == verb || verb == "watch" || !refused
        });
        if mended {
            self.of.remove(kind);
        }
    }

    /// Since when not all kinds can be followed.
    pub(super) fn since(&self) -> Option<SystemTime> {
        self.of.values().map(|(_, failure)| failure.since).min()
    }

    fn subject(&self) -> Subject {
        Subject::Part(format!("API server {}", self.server))
    }

    /// What to tell: one problem for what is wrong with the server, one a kind for what is wrong with that.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut away: Option<(SystemTime, &str)> = None;
        let mut unknown: Option<(SystemTime, &str)> = None;
        let first = |slot: &mut Option<(SystemTime, _)>, since, reason| {
            if slot.as_ref().is_none_or(|(known, _)| since < *known) {
                *slot = Some((since, reason));
            }
        };
        for (kind, failure) in self.of.values() {
            let Failure { verb, cause, since } = failure;
            let of_kind = |reason: String| Problem {
                object: self.subject(),
                message: format!("{reason} (since {})", time(*since)),
            };
            match cause {
                Cause::Away(reason) => first(&mut away, *since, reason.as_str()),
                Cause::Unauthorized(reason) => first(&mut unknown, *since, reason.as_str()),
                Cause::Forbidden(reason) => problems.push(of_kind(format!(
                    "{reason}; {KEPT}: let this account list and watch {}",
                    kind.name()
                ))),
                Cause::NoSuchResource => {
                    problems.push(of_kind(format!("{}; {KEPT}", no_such_resource(kind))));
                }
                Cause::Other(reason) => {
                    problems.push(of_kind(format!("{verb} {}: {reason}; {KEPT}", kind.name())));
                }
            }
        }
        problems.extend(away.map(|(since, reason)| Problem {
            object: self.subject(),
            message: format!(
                "does not answer since {}: {reason}; {KEPT}: look at the server, and at the way to it",
                time(since)
            ),
        }));
        problems.extend(unknown.map(|(since, reason)| Problem {
            object: self.subject(),
            message: format!(
                "does not accept our credentials since {}: {reason}; {KEPT}: renew the token or certificate",
                time(since)
            ),
        }));
        problems.sort();
        problems
    }
}

const KEPT: &str = "what was read before stays in force";

fn time(at: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(at)
}
