//! `weft status`

use std::process::ExitCode;

use super::{Output, Query, client, print};
use crate::api::view::{EgressPolicyState, Problem, Status};

/// Prints the status; exit code 1 unless the node is ready.
pub fn run(query: &Query) -> anyhow::Result<ExitCode> {
    let status: Status = client::get(&query.config, "/v1/status")?;
    match query.output {
        Output::Json => print::json(&status)?,
        Output::Table => text(&status),
    }
    Ok(if status.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(status: &Status) {
    let Status {
        node,
        node_ip,
        ready,
        not_ready,
        mode,
        subnets,
        pods,
        nodes,
        projects,
        egress,
        problems,
        warnings,
        store_stale_seconds,
        ..
    } = status;
    let state = if *ready {
        "ready".to_owned()
    } else {
        format!("not ready: {not_ready}")
    };
    let mode = if mode.is_empty() {
        "none (no valid ClusterNetwork default)"
    } else {
        mode
    };
    print::line(&format!("Node       {node} ({node_ip}), {state}"));
    print::line(&format!("Mode       {mode}"));
    print::line(&format!("Subnets    {}", subnets.join(", ")));
    print::line(&format!(
        "Knows      {pods} pods here, {nodes} nodes, {projects} projects"
    ));
    print::line(&format!("Objects    heard {store_stale_seconds} s ago"));
    let policies: Vec<_> = EgressPolicyState::ALL
        .iter()
        .filter(|state| egress.of(**state) > 0)
        .map(|state| format!("{} {}", egress.of(*state), state.name()))
        .collect();
    print::line(&format!(
        "Egress     {}",
        if policies.is_empty() {
            "no policies".into()
        } else {
            format!("policies: {}", policies.join(", "))
        }
    ));
    print::line(&format!(
        "Dropped    {} packets (weft get drops)",
        status.dropped
    ));
    let number = |value: &serde_json::Value, key: &str| value[key].as_u64().unwrap_or_default();
    print::line(&format!(
        "Last pass  {} writes, {} us, {} since the start",
        number(&status.last_pass, "writes"),
        number(&status.last_pass, "micros"),
        number(&status.last_pass, "passes"),
    ));
    print::line(&format!(
        "Data path  {}, ABI {}, loaded in {} us",
        status.data_path["attachment"].as_str().unwrap_or_default(),
        number(&status.data_path, "abi"),
        number(&status.data_path, "loadMicros"),
    ));
    print::line(&format!(
        "Agent      {} (pid {})",
        status.version, status.pid
    ));
    if problems.is_empty() {
        print::line("Problems   none");
    } else {
        list("Problems", problems);
    }
    if !warnings.is_empty() {
        list("Warnings", warnings);
    }
}

fn list(title: &str, problems: &[Problem]) {
    print::line(title);
    for problem in problems {
        print::line(&format!("  {}: {}", problem.object, problem.message));
    }
}
