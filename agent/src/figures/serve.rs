//! Figures and probes over TCP: `/metrics`, `/healthz`, `/readyz`, and of an agent `/status`, a summary without names of
//! projects or pods. Nothing else is there, and nothing can be changed.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

/// What a process tells.
pub trait Telling: Send + Sync + 'static {
    /// The figures, or why there are none.
    fn metrics(&self) -> Result<String, String>;
    /// An error if only a restart will help.
    fn alive(&self) -> Result<(), String>;
    /// An error while it does not do its work.
    fn ready(&self) -> Result<(), String>;
    /// A summary as JSON, for `kubectl weft status`; `None` if there is none of this process.
    fn status(&self) -> Option<Result<String, String>> {
        None
    }
}

/// The address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("metricsAddress {address}: {source}: choose an address of this machine and a free port")]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves on a thread of its own until the process ends. The address is taken before this returns; port 0 takes any.
pub fn serve(address: SocketAddr, telling: Arc<dyn Telling>) -> Result<SocketAddr, ServeError> {
    let fail = |source| ServeError { address, source };
    let listener = TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    let taken = listener.local_addr().map_err(fail)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(fail)?;
    let run = move || {
        let ended = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, app(telling)).await
        });
        if let Err(error) = ended {
            tracing::error!(%error, "metricsAddress is served no more");
        }
    };
    let thread = std::thread::Builder::new()
        .name("metrics".into())
        .spawn(run);
    thread.map_err(fail)?;
    tracing::info!(address = %taken, "figures and probes are served");
    Ok(taken)
}

fn app(telling: Arc<dyn Telling>) -> Router {
    type Told = State<Arc<dyn Telling>>;
    Router::new()
        .route(
            "/metrics",
            get(|State(it): Told| answer(move || it.metrics(), super::CONTENT_TYPE)),
        )
        .route("/healthz", get(|State(it): Told| probe(move || it.alive())))
        .route("/readyz", get(|State(it): Told| probe(move || it.ready())))
        .route("/status", get(|State(it): Told| status(it)))
        .with_state(telling)
}

async fn status(telling: Arc<dyn Telling>) -> Response {
    let asked = tokio::task::spawn_blocking(move || telling.status()).await;
    match asked {
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Ok(Some(status)) => answer(move || status, "application/json").await,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn probe(ask: impl FnOnce() -> Result<(), String> + Send + 'static) -> Response {
    answer(
        move || ask().map(|()| "ok\n".into()),
        "text/plain; charset=utf-8",
    )
    .await
}

/// The answer may wait for another thread.
async fn answer(
    ask: impl FnOnce() -> Result<String, String> + Send + 'static,
    content: &'static str,
) -> Response {
    let asked = tokio::task::spawn_blocking(ask).await;
    match asked.unwrap_or_else(|_| Err("the answer panicked; see the log".into())) {
        Ok(text) => ([(CONTENT_TYPE, content)], text).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    struct Starting;

    impl Telling for Starting {
        fn metrics(&self) -> Result<String, String> {
            Ok("weft_x 1\n".into())
        }
        fn alive(&self) -> Result<(), String> {
            Ok(())
        }
        fn ready(&self) -> Result<(), String> {
            Err("objects are being listed".into())
        }
    }

    fn said(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn probes_are_told_by_status_and_people_by_text() {
        let address = serve(([127, 0, 0, 1], 0).into(), Arc::new(Starting)).unwrap();
        let alive = said(address, "/healthz");
        assert!(alive.starts_with("HTTP/1.0 200"), "{alive}");
        let ready = said(address, "/readyz");
        assert!(
            ready.starts_with("HTTP/1.0 503") && ready.ends_with("objects are being listed\n"),
            "{ready}"
        );
        let metrics = said(address, "/metrics");
        assert!(
            metrics.contains("openmetrics-text") && metrics.ends_with("weft_x 1\n"),
            "{metrics}"
        );
        assert!(
            said(address, "/v1/status").starts_with("HTTP/1.0 404"),
            "the admin socket's alone"
        );
        assert!(
            said(address, "/status").starts_with("HTTP/1.0 404"),
            "a controller has none"
        );
        let taken = serve(address, Arc::new(Starting)).unwrap_err().to_string();
        assert!(
            taken.contains("metricsAddress") && taken.contains("a free port"),
            "{taken}"
        );
    }
}
