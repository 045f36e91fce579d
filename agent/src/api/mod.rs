//! The admin socket: HTTP and JSON on RUNDIR/agent.sock, for root only.
//!
//! # Layout
//! - [`view`]: what the answers look like, shared with the command line
//! - [`read`]: makes them from the world and the maps
//! - [`egress`], [`egress_policies`]: what becomes of egress policies, and what their rules met
//! - [`names`]: addresses of the names in policies
//! - [`explain`], [`target`]: what the data path would do with a packet
//! - [`summary`]: what is told over TCP
//! - [`metrics`]: figures for Prometheus
//! - [`events`]: drop events out of the ring buffer, with names in the place of numbers

mod egress;
mod egress_policies;
pub mod events;
pub mod explain;
#[cfg(test)]
pub(crate) mod fixture;
mod metrics;
mod names;
mod read;
mod summary;
pub mod target;
pub mod view;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;

use crate::cni::metrics::Metrics;
use crate::figures::{self, serve::Telling};
use crate::sync::Handle;
pub use egress::Unenforced;
use events::Feed;
use explain::{Question, Unexplained};
use read::NoAnswer;
pub use read::unenforced;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{call} {path}: {source}")]
pub struct SocketError {
    /// What was tried.
    call: &'static str,
    /// On which path.
    path: PathBuf,
    /// The cause.
    #[source]
    source: io::Error,
}

/// What the handlers need.
#[derive(Clone)]
struct Context {
    handle: Handle,
    feed: Arc<Feed>,
    cni: Arc<Metrics>,
}

/// File name of the socket in the run directory.
pub const SOCKET: &str = "agent.sock";

/// Makes the socket, mode 0600. One that an earlier agent left is replaced. Call it inside a tokio runtime.
pub fn listen(run_dir: &Path) -> Result<UnixListener, SocketError> {
    let path = run_dir.join(SOCKET);
    let fail = |call| {
        let path = path.clone();
        move |source| SocketError { call, path, source }
    };
    fs::create_dir_all(run_dir).map_err(fail("create folder of"))?;
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail("replace")(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(fail("listen on"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail("set mode of"))?;
    Ok(listener)
}

/// Serves until the future is dropped.
pub async fn serve(
    listener: UnixListener,
    handle: Handle,
    feed: Arc<Feed>,
    cni: Arc<Metrics>,
) -> io::Result<()> {
    let app = Router::new()
        .route(
            "/v1/status",
            get(|State(c): State<Context>| answer(move || read::status(&c.handle))),
        )
        .route(
            "/v1/pods",
            get(|State(c): State<Context>| answer(move || read::pods(&c.handle))),
        )
        .route(
            "/v1/nodes",
            get(|State(c): State<Context>| answer(move || Ok(read::nodes(&c.handle)))),
        )
        .route(
            "/v1/projects",
            get(|State(c): State<Context>| answer(move || Ok(read::projects(&c.handle)))),
        )
        .route(
            "/v1/drops",
            get(|State(c): State<Context>| answer(move || read::drops(&c.handle, &c.feed))),
        )
        .route("/v1/monitor", get(monitor))
        .route("/v1/egress-policies", get(egress_policies))
        .route("/v1/explain", get(explained))
        .route("/metrics", get(metrics_text))
        .with_state(Context { handle, feed, cni });
    axum::serve(listener, app).await
}

/// What the agent tells over TCP.
pub struct Told {
    /// The sync loop.
    pub handle: Handle,
    /// Of the CNI server.
    pub cni: Arc<Metrics>,
}

impl Telling for Told {
    fn metrics(&self) -> Result<String, String> {
        metrics::text(&self.handle, &self.cni).map_err(|error| error.to_string())
    }

    /// A loop that is gone, or stuck for ten seconds.
    fn alive(&self) -> Result<(), String> {
        let answer = self.handle.read(|_| ());
        answer.ok_or_else(|| NoAnswer::Loop.to_string())
    }

    /// Stricter than what the runtime is told: a node takes pods of known projects also while objects are out of reach, but
    /// its policies may not be the newest, and whoever reads conditions learns of that from the pod's readiness.
    fn ready(&self) -> Result<(), String> {
        let shared = self.handle.shared();
        shared.ready()?;
        shared.lag().follows()
    }

    fn status(&self) -> Option<Result<String, String>> {
        let summary = summary::summary(&self.handle).map_err(|error| error.to_string());
        Some(summary.and_then(|it| serde_json::to_string(&it).map_err(|error| error.to_string())))
    }
}

/// Reading waits for the sync loop, so it runs beside the server's own thread.
async fn answer<T: serde::Serialize + Send + 'static>(
    read: impl FnOnce() -> Result<T, NoAnswer> + Send + 'static,
) -> Response {
    // A reading that panicked has left its message in the log.
    let answer = tokio::task::spawn_blocking(read)
        .await
        .unwrap_or(Err(NoAnswer::Loop));
    match answer {
        Ok(view) => Json(view).into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &NoAnswer) -> Response {
    let code = match error {
        NoAnswer::Loop => StatusCode::SERVICE_UNAVAILABLE,
        NoAnswer::Map(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::error!(%error, "a question on the admin socket has no answer");
    (code, error.to_string()).into_response()
}

/// Which egress policies are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EgressPolicyQuery {
    /// Only those of one namespace.
    namespace: Option<String>,
}

async fn egress_policies(
    State(c): State<Context>,
    Query(query): Query<EgressPolicyQuery>,
) -> Response {
    answer(move || egress_policies::egress_policies(&c.handle, query.namespace)).await
}

async fn explained(State(c): State<Context>, Query(question): Query<Question>) -> Response {
    let asked = tokio::task::spawn_blocking(move || explain::explain(&c.handle, &question)).await;
    let error = match asked.unwrap_or(Err(Unexplained::Silent(NoAnswer::Loop))) {
        Ok(view) => return Json(view).into_response(),
        Err(error) => error,
    };
    let code = match &error {
        Unexplained::Silent(error) => return failed(error),
        Unexplained::Target(_) | Unexplained::From(_) => StatusCode::BAD_REQUEST,
        Unexplained::NoPod { .. }
        | Unexplained::Elsewhere { .. }
        | Unexplained::NoAddress { .. } => StatusCode::NOT_FOUND,
    };
    (code, error.to_string()).into_response()
}

async fn metrics_text(State(c): State<Context>) -> Response {
    let asked = tokio::task::spawn_blocking(move || metrics::text(&c.handle, &c.cni)).await;
    match asked.unwrap_or(Err(NoAnswer::Loop)) {
        Ok(text) => ([(CONTENT_TYPE, figures::CONTENT_TYPE)], text).into_response(),
        Err(error) => failed(&error),
    }
}

/// One JSON object a line for each drop, until the client leaves. One that reads too slowly loses the oldest events.
async fn monitor(State(context): State<Context>) -> Response {
    let lines = unfold(context.feed.subscribe(), |mut events| async move {
        loop {
            match events.recv().await {
                Ok(event) => {
                    let line = serde_json::to_vec(&event).map(|mut line| {
                        line.push(b'\n');
                        line
                    });
                    return Some((line, events));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Response::new(Body::from_stream(lines))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::bpf::maps::TableError;

    async fn said(answer: Response) -> (u16, String) {
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_map_that_cannot_be_read_is_an_error_that_names_it() {
        let refused = || {
            Err::<u64, _>(NoAnswer::from(TableError::Call {
                call: "read",
                map: weft_ebpf::tables::map::DROPS,
                source: aya::maps::MapError::KeyNotFound,
            }))
        };
        let (status, text) = said(answer(refused).await).await;
        assert_eq!(status, 500);
        assert!(text.starts_with("read map DROPS: "), "{text}");
        assert_eq!(said(answer(|| Ok(7_u64)).await).await, (200, "7".into()));
        let (status, text) = said(answer(|| Err::<u64, _>(NoAnswer::Loop)).await).await;
        assert_eq!(status, 503, "{text}");
    }
}
