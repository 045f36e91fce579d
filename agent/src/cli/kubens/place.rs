//! `weft kubens start` and `weft kubens stop`

use std::process::ExitCode;

use weft_netns::kubens::Place;

use super::print;

pub(super) fn start(place: &Place) -> anyhow::Result<ExitCode> {
    let started = place.start()?;
    let done = if started.new { "pinned" } else { "kept" };
    let pin = place.pin();
    print::line(&format!("{}: {} {done}", pin.display(), started.namespace));
    for warning in &started.warnings {
        print::line(&format!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn stop(place: &Place, force: bool) -> anyhow::Result<ExitCode> {
    let stopped = place.stop(force)?;
    let pin = place.pin();
    if stopped.namespaces.is_empty() {
        print::line(&format!("{}: nothing is pinned", pin.display()));
    }
    for namespace in &stopped.namespaces {
        print::line(&format!("{}: {namespace} unpinned", pin.display()));
    }
    for process in &stopped.left {
        print::line(&format!("warning: process {process} stays inside"));
    }
    Ok(ExitCode::SUCCESS)
}
