//! `kubectl weft status`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::pod_network::Selector;
use super::{Output, print};
use crate::api::view::Summary;
use crate::config::{HOME, Source, SourceArgs, StoreArgs};
use crate::store::kubernetes::agents::{Answer, Inquiry, ask_agents};

/// Flags of `kubectl weft status`, named as kubectl's.
#[derive(Args)]
pub struct ClusterStatus {
    /// Kubeconfig file of the cluster [default: as kubectl]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace that weft runs in
    #[arg(short, long, value_name = "NAME", default_value = HOME)]
    namespace: String,
    /// Only nodes with these labels: `zone=a,!old`
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    /// How long to wait for all answers together, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A node as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    node: String,
    /// Nothing if it did not answer.
    #[serde(flatten)]
    summary: Option<Summary>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
}

/// Asks and prints; exit code 1 unless every node is there and ready.
pub fn run(args: &ClusterStatus) -> anyhow::Result<ExitCode> {
    let store = StoreArgs {
        config: None,
        source: SourceArgs {
            manifests: None,
            kubeconfig: args.kubeconfig.clone(),
            context: args.context.clone(),
        },
    };
    let Source::Kubernetes(access) = store.load_as_kubectl()?.source else {
        bail!("no cluster is configured: set KUBECONFIG, or name a file with --kubeconfig");
    };
    let selector = args.selector.as_ref();
    let inquiry = Inquiry {
        namespace: args.namespace.clone(),
        selector: selector.map(ToString::to_string).unwrap_or_default(),
        timeout: Duration::from_secs(args.timeout),
    };
    let answers = ask_agents(&access, inquiry, "/status")?;
    let lines: Vec<Line> = answers.into_iter().map(line).collect();
    let ready = |line: &Line| line.summary.as_ref().is_some_and(|it| it.ready);
    let all_ready = lines.iter().all(ready);
    match args.output {
        Output::Json => print::json(&lines)?,
        Output::Table => table(&lines),
    }
    Ok(if all_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(Answer { node, said }: Answer) -> Line {
    let read = said.and_then(|text| {
        let summary = serde_json::from_str(&text);
        summary.map_err(|error| {
            format!("its answer is not understood ({error}): is it of this version?")
        })
    });
    let (summary, unreachable) = match read {
        Ok(summary) => (Some(summary), None),
        Err(reason) => (None, Some(reason)),
    };
    Line {
        node,
        summary,
        unreachable,
    }
}

fn table(lines: &[Line]) {
    let most = most(lines);
    let header = [
        "NODE", "STATUS", "PODS", "POLICIES", "OBJECTS", "HEARD", "PROBLEMS", "VERSION", "REASON",
    ];
    print::table(
        header,
        lines.iter().map(|line| {
            let Some(it) = &line.summary else {
                let none = || "-".to_owned();
                let reason = line.unreachable.clone().unwrap_or_default();
                return [
                    line.node.clone(),
                    "Unreachable".into(),
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                    reason,
                ];
            };
            [
                line.node.clone(),
                if it.ready { "Ready" } else { "NotReady" }.into(),
                it.pods.to_string(),
                it.egress.enforced.to_string(),
                // Changes take a moment; a node that differs for longer has not followed.
                if Some(&it.objects) == most.as_ref() {
                    "same"
                } else {
                    "differ"
                }
                .into(),
                format!("{}s", it.store_stale_seconds),
                it.problems.to_string(),
                it.version.clone(),
                it.not_ready.clone(),
            ]
        }),
    );
}

/// What most nodes follow.
fn most(lines: &[Line]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for summary in lines.iter().filter_map(|line| line.summary.as_ref()) {
        *counts.entry(&summary.objects).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(objects, _)| objects.to_owned())
}
