//! From the configuration to a client, and the thread that it runs on.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::heard::{Heard, HeardLayer};
use super::transport::{Limits, transport};
use crate::config::Access;
use crate::store::StoreError;

/// A client and its thread, which ends when this is dropped.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) runtime: Handle,
    pub(super) server: String,
    pub(super) heard: Arc<Heard>,
    _running: oneshot::Sender<()>,
}

/// Reads the credentials and starts the thread. The server is not asked yet.
pub(super) fn connect(access: &Access, limits: Limits) -> Result<Connection, StoreError> {
    let from = name(access);
    let fail = |reason: String| StoreError::Access {
        from: from.clone(),
        reason,
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        // Name resolution and reads of token files are all that blocks.
        .max_blocking_threads(2)
        .build()
        .map_err(|e| fail(format!("start the runtime: {e}")))?;
    let handle = runtime.handle().clone();
    let (running, ended) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("kubernetes".into())
        .spawn(move || {
            // An error is what the end of the connection is.
            drop(runtime.block_on(ended));
            runtime.shutdown_background();
        })
        .map_err(|e| fail(format!("start the thread: {e}")))?;
    let heard = Arc::new(Heard::new());
    let (reply, answer) = sync_channel(1);
    let (access, layer) = (access.clone(), HeardLayer(Arc::clone(&heard)));
    handle.spawn(async move {
        // Whoever asked waits without end.
        drop(reply.send(client(&access, layer, limits).await));
    });
    let (client, server) = answer
        .recv()
        .map_err(|_| fail("the thread has ended".into()))?
        .map_err(&fail)?;
    Ok(Connection {
        client,
        runtime: handle,
        server,
        heard,
        _running: running,
    })
}

/// On the thread: the client starts its workers where it is made.
async fn client(
    access: &Access,
    layer: HeardLayer,
    limits: Limits,
) -> Result<(Client, String), String> {
    let config = match access {
        Access::InCluster => kube::Config::incluster().map_err(|error| {
            format!(
                "{error}: run it in a pod with a service account, or name a file in source.kubernetes.kubeconfig or \
                 with --kubeconfig"
            )
        })?,
        Access::Kubeconfig { files, context } => {
            let mut merged = Kubeconfig::default();
            for file in files {
                let read = Kubeconfig::read_from(file).and_then(|read| merged.merge(read));
                merged = read.map_err(|e| e.to_string())?;
            }
            let contexts: Vec<_> = merged.contexts.iter().map(|c| c.name.clone()).collect();
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            let config = kube::Config::from_custom_kubeconfig(merged, &options).await;
            config.map_err(|error| match contexts.as_slice() {
                [] => format!("{error}: the file has no contexts"),
                contexts => format!("{error}: the contexts are {}", contexts.join(", ")),
            })?
        }
    };
    let server = config.cluster_url.to_string();
    let client = transport(&config, layer, limits).map_err(|e| e.to_string())?;
    Ok((client, server.trim_end_matches('/').to_owned()))
}

fn name(access: &Access) -> String {
    match access {
        Access::InCluster => "service account of this pod".into(),
        Access::Kubeconfig { files, context } => {
            let files: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let context = context.as_ref().map(|name| format!(", context {name}"));
            format!(
                "kubeconfig {}{}",
                files.join(", "),
                context.unwrap_or_default()
            )
        }
    }
}
