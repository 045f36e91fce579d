//! `weft get`

use std::process::ExitCode;

use clap::Subcommand;

use super::egress::{self, EgressPolicies};
use super::{Output, Query, client, monitor, print};
use crate::api::view::{Drops, Node, Pod, Project};

/// What can be listed.
#[derive(Subcommand)]
pub enum Get {
    /// Pods of this node: addresses, interface, traffic
    Pods(Query),
    /// Nodes of the cluster: underlay address, pod subnets
    Nodes(Query),
    /// Projects: network number, who is joined with whom
    Projects(Query),
    /// Dropped packets by reason and by pod, and the latest ones
    Drops(Query),
    /// Egress policies: what becomes of them on this node, what their rules met
    ///
    /// STATE is Enforced, Ignored (all is allowed), Closed (nothing of the project leaves the cluster), Refused (it does not
    /// fit, and what was in force before stays), NotLocal (no pod of the project is on this node) or Pending (not written
    /// yet). JSON always has the rules.
    #[command(visible_aliases = ["egressnetworkpolicies", "enp"])]
    EgressPolicies(EgressPolicies),
}

/// Prints a list.
pub fn run(get: &Get) -> anyhow::Result<ExitCode> {
    match get {
        Get::Pods(query) => pods(query)?,
        Get::Nodes(query) => nodes(query)?,
        Get::Projects(query) => projects(query)?,
        Get::Drops(query) => drops(query)?,
        Get::EgressPolicies(args) => egress::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn pods(query: &Query) -> anyhow::Result<()> {
    let pods: Vec<Pod> = client::get(&query.config, "/v1/pods")?;
    if query.output == Output::Json {
        return print::json(&pods);
    }
    print::table(
        [
            "NAMESPACE",
            "NAME",
            "IPS",
            "VNID",
            "INTERFACE",
            "SENT",
            "RECEIVED",
            "DROPPED",
        ],
        pods.into_iter().map(|pod| {
            [
                pod.namespace,
                pod.name,
                join(&pod.ips),
                pod.vnid.map_or("closed".into(), |vnid| vnid.to_string()),
                pod.interface,
                pod.sent_packets.to_string(),
                pod.received_packets.to_string(),
                pod.dropped_packets.to_string(),
            ]
        }),
    );
    Ok(())
}

fn nodes(query: &Query) -> anyhow::Result<()> {
    let nodes: Vec<Node> = client::get(&query.config, "/v1/nodes")?;
    if query.output == Output::Json {
        return print::json(&nodes);
    }
    print::table(
        ["NAME", "IP", "SUBNETS", "LOCAL"],
        nodes.into_iter().map(|node| {
            [
                node.name,
                node.ip.to_string(),
                node.subnets.join(","),
                if node.local {
                    "yes".into()
                } else {
                    String::new()
                },
            ]
        }),
    );
    Ok(())
}

fn projects(query: &Query) -> anyhow::Result<()> {
    let projects: Vec<Project> = client::get(&query.config, "/v1/projects")?;
    if query.output == Output::Json {
        return print::json(&projects);
    }
    print::table(
        ["NAME", "VNID", "NETWORK", "PODS HERE"],
        projects.into_iter().map(|project| {
            let network = match (project.global, project.joined_with.is_empty()) {
                (true, _) => "global".to_owned(),
                (false, true) => "isolated".to_owned(),
                (false, false) => format!("joined with {}", project.joined_with.join(",")),
            };
            [
                project.name,
                project.vnid.to_string(),
                network,
                project.pods.to_string(),
            ]
        }),
    );
    Ok(())
}

fn drops(query: &Query) -> anyhow::Result<()> {
    let drops: Drops = client::get(&query.config, "/v1/drops")?;
    if query.output == Output::Json {
        return print::json(&drops);
    }
    print::table(
        ["REASON", "PACKETS", "BYTES", "MEANING"],
        drops
            .reasons
            .into_iter()
            .map(|r| [r.reason, r.packets.to_string(), r.bytes.to_string(), r.text]),
    );
    print::line("");
    print::table(
        ["POD", "REASON", "PACKETS", "BYTES"],
        drops
            .pods
            .into_iter()
            .map(|p| [p.pod, p.reason, p.packets.to_string(), p.bytes.to_string()]),
    );
    print::line("");
    for event in &drops.recent {
        print::line(&monitor::text(event));
    }
    Ok(())
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
