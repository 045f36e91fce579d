//! `weft monitor`

use std::process::ExitCode;

use super::{Output, Query, client, print};
use crate::api::view::{Drop, Party};

/// Prints drops as they happen.
pub fn run(query: &Query) -> anyhow::Result<ExitCode> {
    client::lines(&query.config, "/v1/monitor", |line| {
        match query.output {
            Output::Json => print::line(String::from_utf8_lossy(line).trim_end()),
            Output::Table => print::line(&text(&serde_json::from_slice(line)?)),
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One drop as a line.
pub fn text(drop: &Drop) -> String {
    let seconds = drop.time / 1_000_000_000;
    let clock = seconds % 86_400;
    format!(
        "{:02}:{:02}:{:02}.{:03} {} {} {} -> {} {} bytes at {}: {}{}",
        clock / 3600,
        clock / 60 % 60,
        clock % 60,
        drop.time / 1_000_000 % 1000,
        drop.reason,
        drop.protocol,
        party(&drop.source),
        party(&drop.destination),
        drop.bytes,
        drop.hook,
        drop.text,
        rule(drop),
    )
}

/// `: rule 3 of shop/default: Deny 0.0.0.0/0`, or nothing.
fn rule(drop: &Drop) -> String {
    match (drop.rule, &drop.policy, &drop.rule_text) {
        (Some(rule), Some(policy), Some(text)) => format!(": rule {rule} of {policy}: {text}"),
        (Some(rule), ..) => format!(": rule {rule} of a policy that has changed since"),
        (None, ..) => String::new(),
    }
}

fn party(party: &Party) -> String {
    let Some(ip) = party.ip else {
        return "?".into();
    };
    let address = match (ip.is_ipv6(), party.port) {
        (_, 0) => ip.to_string(),
        (true, port) => format!("[{ip}]:{port}"),
        (false, port) => format!("{ip}:{port}"),
    };
    let mut about = Vec::new();
    if let Some(pod) = &party.pod {
        about.push(format!("pod {pod}"));
    } else if !party.projects.is_empty() {
        about.push(format!("project {}", party.projects.join("|")));
    }
    about.extend(party.vnid.map(|vnid| format!("VNID {vnid}")));
    about.extend(party.node.as_ref().map(|node| format!("node {node}")));
    if about.is_empty() {
        address
    } else {
        format!("{address} ({})", about.join(", "))
    }
}
