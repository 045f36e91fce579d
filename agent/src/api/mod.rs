//! The admin socket: HTTP and JSON on RUNDIR/agent.sock, for root only.
//!
//! # Layout
//! - [`view`]: what the answers look like, shared with the command line
//! - [`read`]: makes them from the world and the maps
//! - [`events`]: drop events out of the ring buffer, with names in the place of numbers

pub mod events;
mod read;
pub mod view;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::unfold;
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;

use crate::sync::Handle;
use events::Feed;

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
pub async fn serve(listener: UnixListener, handle: Handle, feed: Arc<Feed>) -> io::Result<()> {
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
            get(|State(c): State<Context>| answer(move || Some(read::nodes(&c.handle)))),
        )
        .route(
            "/v1/projects",
            get(|State(c): State<Context>| answer(move || Some(read::projects(&c.handle)))),
        )
        .route(
            "/v1/drops",
            get(|State(c): State<Context>| answer(move || read::drops(&c.handle, &c.feed))),
        )
        .route("/v1/monitor", get(monitor))
        .with_state(Context { handle, feed });
    axum::serve(listener, app).await
}

/// Reading waits for the sync loop, so it runs beside the server's own thread.
async fn answer<T: serde::Serialize + Send + 'static>(
    read: impl FnOnce() -> Option<T> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(read).await {
        Ok(Some(view)) => Json(view).into_response(),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the sync loop does not answer; see the agent's log",
        )
            .into_response(),
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
