//! Whether kubelet, runtime and agent are in one mount namespace.

use weft_netns::kubens::Place;

use super::{Check, State};
use crate::kubens::judge::{Seen, judge};
use crate::observe::kubens;

const NAME: &str = "mount namespaces";

/// No line at all where nothing can be seen, as in a container without the host's processes.
pub(super) fn check() -> Option<Check> {
    match kubens::look(&Place::default()) {
        Ok(seen) => tell(&seen),
        Err(error) => Some(Check::new(NAME, State::Warning, error.to_string())),
    }
}

pub(super) fn tell(seen: &Seen) -> Option<Check> {
    let findings = judge(seen);
    let state = if findings.iter().any(|finding| finding.wrong) {
        State::Warning
    } else {
        State::Ok
    };
    let messages: Vec<_> = findings
        .into_iter()
        .map(|finding| finding.message)
        .collect();
    if !messages.is_empty() {
        return Some(Check::new(NAME, state, messages.join("; ")));
    }
    let who: Vec<_> = seen.processes.iter().map(ToString::to_string).collect();
    let namespace = &seen.processes.first()?.namespace;
    Some(Check::new(
        NAME,
        State::Ok,
        format!("{namespace}: {}", who.join(", ")),
    ))
}
