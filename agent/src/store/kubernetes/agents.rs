//! Asks the agent of each node through the API server, which reaches their pods where the caller may not.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, ListParams};

use super::connect::connect;
use super::kinds::AGENTS;
use super::transport::Limits;
use crate::config::Access;
use crate::store::StoreError;

/// Name of the container's port for figures and probes, and its number where no port has the name.
const PORT: (&str, i32) = ("metrics", 9618);
/// Agents that are asked at once.
const PARALLEL: usize = 64;
const PAGE: u32 = 500;

/// Whom to ask, and how long.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// Namespace of the agents' pods.
    pub namespace: String,
    /// Labels of the nodes; empty for all.
    pub selector: String,
    /// For all answers together.
    pub timeout: Duration,
}

/// What became of the question to one node.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The node.
    pub node: String,
    /// The agent's answer as it came, or why there is none.
    pub said: Result<String, String>,
}

/// Asks every node's agent for a path of its address, all at the same time. In the order of the nodes' names.
pub fn ask_agents(
    access: &Access,
    inquiry: Inquiry,
    path: &'static str,
) -> Result<Vec<Answer>, StoreError> {
    let connection = connect(access, Limits::default())?;
    let server = connection.server.clone();
    let (client, (reply, answers)) = (connection.client.clone(), std::sync::mpsc::channel());
    connection.runtime.spawn(async move {
        // Whoever asked waits without end.
        drop(reply.send(all(client, inquiry, path).await));
    });
    let fail = |(what, reason): (&str, String)| StoreError::Server {
        verb: "list",
        what: what.into(),
        server: server.clone(),
        reason,
    };
    let answers = answers.recv();
    let answers = answers.map_err(|_| fail(("nodes", "the connection was closed".into())))?;
    answers.map_err(fail)
}

async fn all(
    client: Client,
    inquiry: Inquiry,
    path: &'static str,
) -> Result<Vec<Answer>, (&'static str, String)> {
    let Inquiry {
        namespace,
        selector,
        timeout,
    } = inquiry;
    let deadline = tokio::time::Instant::now() + timeout;
    let late = |what| (what, format!("no answer within {} s", timeout.as_secs()));
    let nodes = tokio::time::timeout_at(deadline, nodes(&client, &selector)).await;
    let nodes = nodes.map_err(|_| late("nodes"))?;
    let nodes = nodes.map_err(|error| ("nodes", error.to_string()))?;
    let pods = tokio::time::timeout_at(deadline, pods(&client, &namespace)).await;
    let pods = pods.map_err(|_| late("pods"))?;
    let pods = pods.map_err(|error| ("pods", error.to_string()))?;
    let questions = nodes.into_iter().map(|node| {
        let (client, pod) = (client.clone(), pods.get(&node).cloned());
        let namespace = &namespace;
        async move {
            let said = match pod {
                None => Err(format!(
                    "no agent: namespace {namespace} has no pod of it on this node"
                )),
                Some(Err(reason)) => Err(reason),
                Some(Ok(pod)) => {
                    let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}/proxy{path}");
                    let asked = tokio::time::timeout_at(deadline, ask(&client, &uri)).await;
                    asked.unwrap_or_else(|_| {
                        Err(format!("no answer within {} s", timeout.as_secs()))
                    })
                }
            };
            Answer { node, said }
        }
    });
    let mut answers: Vec<_> = futures_util::stream::iter(questions)
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    answers.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(answers)
}

async fn ask(client: &Client, uri: &str) -> Result<String, String> {
    let request = http::Request::get(uri).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    client.request_text(request).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 403 => status.message.clone(),
        kube::Error::Api(status) => format!(
            "the API server does not reach the agent: {}; metricsAddress of the agents has to be one that it reaches, such \
             as 0.0.0.0:{}",
            status.message.trim(),
            PORT.1
        ),
        error => error.to_string(),
    })
}

/// Names of the nodes.
async fn nodes(client: &Client, selector: &str) -> kube::Result<Vec<String>> {
    let api = Api::<Node>::all(client.clone());
    let mut params = ListParams::default().limit(PAGE).labels(selector);
    let mut names = Vec::new();
    loop {
        let page = api.list_metadata(&params).await?;
        names.extend(page.items.into_iter().filter_map(|it| it.metadata.name));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(names),
            Some(token) => params = params.continue_token(&token),
        }
    }
}

/// By node, NAME:PORT of the agent's pod, or why it cannot be asked.
async fn pods(
    client: &Client,
    namespace: &str,
) -> kube::Result<BTreeMap<String, Result<String, String>>> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut params = ListParams::default().limit(PAGE).labels(AGENTS);
    let mut pods = BTreeMap::new();
    loop {
        let page = api.list(&params).await?;
        for pod in page.items {
            let (Some(name), Some(spec)) = (pod.metadata.name, pod.spec) else {
                continue;
            };
            let Some(node) = spec.node_name else { continue };
            let phase = pod
                .status
                .and_then(|status| status.phase)
                .unwrap_or_default();
            if phase != "Running" {
                // One that ended does not stand for the one that took its place.
                pods.entry(node)
                    .or_insert(Err(format!("pod {name} is {phase}")));
                continue;
            }
            let ports = spec
                .containers
                .into_iter()
                .flat_map(|it| it.ports.unwrap_or_default());
            let mut named = ports.filter(|port| port.name.as_deref() == Some(PORT.0));
            let port = named.next().map_or(PORT.1, |port| port.container_port);
            pods.insert(node, Ok(format!("{name}:{port}")));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(pods),
            Some(token) => params = params.continue_token(&token),
        }
    }
}
