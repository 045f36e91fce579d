//! Asks the agent over its admin socket.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::SOCKET;
use crate::config::{Config, ConfigArgs};

/// Reads one answer.
pub fn get<T: DeserializeOwned>(args: &ConfigArgs, path: &str) -> anyhow::Result<T> {
    runtime()?.block_on(async {
        let body = open(args, path).await?.collect().await?.to_bytes();
        serde_json::from_slice(&body)
            .with_context(|| format!("the agent's answer to {path} is not understood"))
    })
}

/// Reads one answer to a question: the fields become the route's query.
pub fn ask<T: DeserializeOwned>(
    args: &ConfigArgs,
    route: &str,
    question: &impl Serialize,
) -> anyhow::Result<T> {
    let query = serde_urlencoded::to_string(question).context("write the question")?;
    get(args, &format!("{route}?{query}"))
}

/// Reads one answer as it is.
pub fn text(args: &ConfigArgs, path: &str) -> anyhow::Result<String> {
    runtime()?.block_on(async {
        let body = open(args, path).await?.collect().await?.to_bytes();
        String::from_utf8(body.into()).context("the agent's answer is no text")
    })
}

/// Hands each line of an endless answer over.
pub fn lines(
    args: &ConfigArgs,
    path: &str,
    mut line: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut body = open(args, path).await?;
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                rest.extend_from_slice(&data);
            }
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = rest.drain(..=end).collect();
                line(&whole)?;
            }
        }
        bail!("the agent has ended")
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")
}

async fn open(args: &ConfigArgs, path: &str) -> anyhow::Result<Incoming> {
    let socket = Config::load(args)?.run_dir.join(SOCKET);
    let stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "connect to the agent at {}: is it running here (systemctl status weft-agent), and are you root? \
             --run-dir or --config name another one",
            socket.display()
        )
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "agent")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        bail!(
            "the agent answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }
    Ok(response.into_body())
}
