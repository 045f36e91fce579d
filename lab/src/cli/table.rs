//! `weft-lab status` for people.

use std::fmt::Display;

use comfy_table::{Table, presets};

use crate::lab::KubernetesMode;
use crate::lab::status::Status;

/// A table without lines, as kubectl prints them. Rows come before the text is asked for.
pub(crate) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.to_vec());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

pub(super) fn status(status: &Status) -> String {
    let kubernetes = status.kubernetes.as_ref();
    let away = match kubernetes.map(|found| found.mode) {
        Some(KubernetesMode::Cluster) => "in a pod",
        Some(KubernetesMode::Bare) => "in a pod, if installed",
        Some(KubernetesMode::Api) | None => "not running",
    };
    let pid = |pid: Option<i32>| pid.map_or_else(|| away.to_owned(), |pid| format!("pid {pid}"));
    let mut nodes = plain(&["NODE", "AGENT", "ADDRESS", "POD SUBNETS"]);
    for node in &status.nodes {
        nodes.add_row([
            node.name.clone(),
            pid(node.agent_pid),
            node.ip.to_string(),
            list(&node.subnets),
        ]);
    }
    let mut sections = vec![
        format!(
            "lab {}, {} mode, controller {}\n{}",
            status.lab,
            status.mode,
            pid(status.controller_pid),
            store(status)
        ),
        nodes.trim_fmt(),
    ];
    if !status.externals.is_empty() {
        let mut externals = plain(&["EXTERNAL", "ADDRESSES", "UNDERLAY"]);
        for external in &status.externals {
            externals.add_row([
                external.name.clone(),
                list(&external.ips),
                list(&external.underlay_ips),
            ]);
        }
        sections.push(externals.trim_fmt());
    }
    if !status.pods.is_empty() {
        let mut pods = plain(&["POD", "NODE", "ADDRESSES", "NETWORK NAMESPACE"]);
        for pod in &status.pods {
            let ips = if pod.ips.is_empty() {
                "(being added)".to_owned()
            } else {
                list(&pod.ips)
            };
            pods.add_row([
                format!("{}/{}", pod.namespace, pod.name),
                pod.node.clone(),
                ips,
                pod.netns.display().to_string(),
            ]);
        }
        sections.push(pods.trim_fmt());
    }
    sections.join("\n\n") + "\n"
}

/// Where the objects are.
fn store(status: &Status) -> String {
    if let Some(servers) = &status.kubernetes {
        let pid = servers.apiserver_pid;
        let runs = pid.map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}"));
        return format!(
            "API server {} {runs}, kubeconfig {}",
            servers.server,
            servers.kubeconfig.display()
        );
    }
    let directory = status.manifests.as_deref();
    directory.map_or_else(String::new, |path| {
        format!("manifests in {}", path.display())
    })
}

fn list(items: &[impl Display]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}
