//! Follows the kinds of a reader: one watch each, put together into one stream of notices.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use futures_util::{FutureExt as _, StreamExt as _};
use kube::Client;
use kube::api::Api;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weft_core::model::Problem;

use super::cache::{Cache, Keep, Known};
use super::failures::{Cause, Failures};
use super::heard::Heard;
use super::kinds::{Part, ServedKind};
use super::patience::Patience;
use super::received::{NodeAddresses, PodReadiness, Received, key, object};
use crate::store::{Delta, Listing, Notice, Object, ObjectRef};

/// Objects that are told together at most; a page of a list.
const PAGE: u32 = 500;

/// What was told of all kinds, and to whom.
pub(super) struct Following {
    state: Mutex<State>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// One lock for all kinds, so that everybody sees the same order of changes.
struct State {
    /// `None` once the watch has ended.
    to: Option<Sender<Notice>>,
    cache: Cache,
    failures: Failures,
    told_problems: Vec<Problem>,
    told_listed: bool,
}

impl Following {
    /// Starts a watch of each kind on the connection's thread.
    pub(super) fn start(
        kinds: &[&'static ServedKind],
        keep: Keep,
        to: Sender<Notice>,
        home: &str,
        (client, runtime, server, heard): (&Client, &Handle, &str, &Heard),
    ) -> Arc<Self> {
        let following = Arc::new(Self {
            state: Mutex::new(State {
                to: Some(to),
                cache: Cache::new(keep, kinds.iter().map(|it| it.kind.clone())),
                failures: Failures::new(server.to_owned()),
                told_problems: Vec::new(),
                told_listed: false,
            }),
            tasks: Mutex::new(Vec::new()),
        });
        let weak = Arc::downgrade(&following);
        let followed = kinds.to_vec();
        heard.listen(Box::new(move |path, watch| {
            let following = Weak::upgrade(&weak);
            let Some(following) = following else {
                return false;
            };
            // A watch that goes on where it broke off brings no event, only this answer.
            if let Some(kind) = followed.iter().find(|kind| path.ends_with(kind.plural)) {
                following.answered(kind, if watch { "watch" } else { "list" });
            }
            true
        }));
        let tasks = kinds.iter().map(|kind| {
            let following = Arc::clone(&following);
            let on = (client.clone(), home.to_owned());
            let answers = heard.answers();
            match kind.part {
                Part::Whole => runtime.spawn(follow::<DynamicObject>(on, kind, answers, following)),
                Part::Metadata => runtime.spawn(follow::<PartialObjectMeta<DynamicObject>>(
                    on, kind, answers, following,
                )),
                Part::Addresses => {
                    runtime.spawn(follow::<NodeAddresses>(on, kind, answers, following))
                }
                Part::Readiness => {
                    runtime.spawn(follow::<PodReadiness>(on, kind, answers, following))
                }
            }
        });
        let tasks = tasks.collect();
        *following
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = tasks;
        following
    }

    /// Ends the watches; the receiver of the notices is disconnected.
    pub(super) fn stop(&self) {
        self.state().to = None;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.drain(..) {
            task.abort();
        }
    }

    /// Everything, if the watches have told everything and somebody keeps it.
    pub(super) fn listing(&self) -> Option<Listing> {
        let state = self.state();
        state.to.as_ref()?;
        Some(Listing {
            objects: state.cache.objects()?.cloned().collect(),
            problems: state.failures.problems(),
        })
    }

    /// Since when not all kinds can be followed.
    pub(super) fn behind_since(&self) -> Option<SystemTime> {
        self.state().failures.since()
    }

    /// An object, on the same terms.
    pub(super) fn get(&self, key: &ObjectRef) -> Known {
        let state = self.state();
        match state.to {
            Some(_) => state.cache.get(key),
            None => Known::Unknown,
        }
    }

    /// Takes in what a write of ours answered, or what it stumbled on.
    pub(super) fn wrote(&self, object: Object) {
        let mut state = self.state();
        let delta = state.cache.put(object);
        state.tell(delta.into_iter().collect());
    }

    /// Takes in that this state of an object is no more.
    pub(super) fn removed(&self, key: ObjectRef, version: &str) {
        let mut state = self.state();
        let delta = state.cache.bury(key, version);
        state.tell(delta.into_iter().collect());
    }

    fn answered(&self, kind: &ServedKind, verb: &str) {
        let mut state = self.state();
        state.failures.answered(&kind.kind, verb);
        state.tell(Vec::new());
    }

    fn take<K: Received>(&self, kind: &'static ServedKind, events: Vec<watcher::Result<Event<K>>>) {
        let mut state = self.state();
        let mut deltas = Vec::new();
        for event in events {
            match event {
                Ok(Event::Init) => state.cache.begin(&kind.kind),
                Ok(Event::InitApply(received) | Event::Apply(received)) => {
                    let object = object(kind, received);
                    deltas.extend(object.and_then(|object| state.cache.put(object)));
                }
                Ok(Event::InitDone) => deltas.extend(state.cache.end(&kind.kind)),
                Ok(Event::Delete(received)) => {
                    let meta = received.meta();
                    let version = meta.resource_version.as_deref().unwrap_or_default();
                    let gone = key(kind, meta).and_then(|key| state.cache.gone(key, version));
                    deltas.extend(gone);
                }
                Err(error) => state.failed(kind, &error),
            }
        }
        state.tell(deltas);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two states of the cache.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failed(&mut self, kind: &'static ServedKind, error: &watcher::Error) {
        let (verb, cause) = match error {
            // What the watch missed is not there any more: it lists anew by itself.
            watcher::Error::WatchError(status) if status.code == 410 => {
                tracing::debug!(resource = kind.name(), "the watch was too far behind");
                return;
            }
            watcher::Error::InitialListFailed(error) => ("list", Cause::of(error)),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                ("watch", Cause::of(error))
            }
            watcher::Error::WatchError(status) => {
                ("watch", Cause::of(&kube::Error::Api(status.clone())))
            }
            watcher::Error::NoResourceVersion => ("watch", Cause::Other(error.to_string())),
        };
        tracing::debug!(resource = kind.name(), verb, %error, "not followed");
        self.failures.failed(kind, verb, cause, SystemTime::now());
    }

    fn tell(&mut self, deltas: Vec<Delta>) {
        let mut news = Vec::new();
        if !deltas.is_empty() {
            news.push(Notice::Changed(deltas));
        }
        let problems = self.failures.problems();
        if problems != self.told_problems {
            self.told_problems.clone_from(&problems);
            news.push(Notice::Problems(problems));
        }
        if self.cache.is_listed() && !self.told_listed {
            self.told_listed = true;
            news.push(Notice::Listed);
        }
        let told = self
            .to
            .as_ref()
            .is_some_and(|to| news.into_iter().all(|it| to.send(it).is_ok()));
        if !told {
            self.to = None;
        }
    }
}

/// Lists in pages and watches, for good: goes on where a watch broke off, lists anew where the server cannot, waits longer
/// with each failure in a row.
///
/// The list asks for what is stored, not for what a server happens to have in memory: after a change of servers an older
/// state would take back policies that were in force. A streamed list, as this library asks for it, would be of that kind.
async fn follow<K: Received>(
    (client, home): (Client, String),
    kind: &'static ServedKind,
    answers: watch::Receiver<()>,
    following: Arc<Following>,
) {
    let mut config = watcher::Config::default().page_size(PAGE);
    let resource = kind.api_resource();
    let api = match kind.at_home {
        None => Api::<K>::all_with(client, &resource),
        Some(labels) => {
            config = config.labels(labels);
            Api::namespaced_with(client, &home, &resource)
        }
    };
    let mut events = std::pin::pin!(watcher(api, config));
    let mut patience = Patience::new(answers);
    while let Some(event) = events.next().await {
        let mut failed = event.is_err();
        let mut together = vec![event];
        // The watcher tries again when it is asked for the next event: not before the wait.
        while !failed && together.len() < PAGE as usize {
            let Some(Some(event)) = events.next().now_or_never() else {
                break;
            };
            failed = event.is_err();
            together.push(event);
        }
        if together.iter().any(Result::is_ok) {
            patience.reset();
        }
        following.take(kind, together);
        if failed {
            patience.wait().await;
        }
    }
}
