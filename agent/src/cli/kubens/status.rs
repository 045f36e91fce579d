//! `weft kubens status`

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use weft_netns::kubens::{Found, Place};

use super::{Directory, Where, print};
use crate::cli::Output;
use crate::kubens::judge::{Finding, Process, judge};
use crate::observe::kubens::look;

/// Flags of `weft kubens status`.
#[derive(clap::Args)]
pub struct Status {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    place: Where,
}

#[derive(Serialize)]
struct View {
    /// `kubens.service` is there.
    installed: bool,
    /// It starts with the node.
    enabled: bool,
    pin: PathBuf,
    /// `none`, `valid`, `stale`, `stacked` or `mismatched`.
    state: &'static str,
    /// What is pinned, that which is joined last.
    namespaces: Vec<String>,
    /// The namespace of process 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    processes: Vec<Process>,
    /// Nothing is wrong.
    agree: bool,
    findings: Vec<Finding>,
}

/// Prints what is there; exit code 1 if something is wrong.
pub(super) fn run(args: &Status) -> anyhow::Result<ExitCode> {
    let places = args.place.places();
    let is_there = |path: PathBuf| places.folders.at(&path).symlink_metadata().is_ok();
    let seen = look(&Place::new(&args.directory.dir))?;
    let findings = judge(&seen);
    let (state, namespaces) = match seen.found {
        Found::Nothing => ("none", Vec::new()),
        Found::Stale => ("stale", Vec::new()),
        Found::Valid(name) => ("valid", vec![name]),
        Found::Stacked(names) => ("stacked", names),
        Found::Mismatched(name) => ("mismatched", vec![name]),
    };
    let view = View {
        installed: is_there(places.unit()),
        enabled: is_there(places.enabled()),
        pin: seen.pin,
        state,
        namespaces,
        host: seen.host,
        processes: seen.processes,
        agree: !findings.iter().any(|finding| finding.wrong),
        findings,
    };
    match args.output {
        Output::Json => print::json(&view)?,
        Output::Table => text(&view),
    }
    Ok(if view.agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(view: &View) {
    let service = match (view.installed, view.enabled) {
        (false, _) => "not installed",
        (true, false) => "installed, not enabled",
        (true, true) => "installed, enabled",
    };
    print::line(&format!("Service    {service}"));
    let pinned = view.namespaces.join(", ");
    let pin = view.pin.display();
    print::line(format!("Pin        {pin}: {} {pinned}", view.state).trim_end());
    let host = view.host.as_deref().unwrap_or("not to be seen from here");
    print::line(&format!("Host       {host}"));
    if view.processes.is_empty() {
        print::line(
            "Processes  none of kubelet, crio, containerd and weft agent to be seen from here",
        );
    } else {
        let rows = view.processes.iter().map(|process| {
            [
                process.name.clone(),
                process.pid.to_string(),
                process.namespace.clone(),
            ]
        });
        print::table(["PROCESS", "PID", "NAMESPACE"], rows);
    }
    for finding in &view.findings {
        let what = if finding.wrong { "Problem" } else { "Note" };
        print::line(&format!("{what:<10} {}", finding.message));
    }
}
