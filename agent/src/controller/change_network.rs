//! The change-network protocol: which network a project goes to on request.

use std::collections::BTreeMap;

use weft_core::model::Vnid;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Request<'a> {
    Global,
    Isolate,
    Join(&'a str),
}

/// `global`, `isolate` (what follows a colon is ignored, as OpenShift does) or `join:PROJECT`.
fn parse(text: &str) -> Result<Request<'_>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["global", ..] => Ok(Request::Global),
        ["isolate", ..] => Ok(Request::Isolate),
        ["join", project] if !project.is_empty() => Ok(Request::Join(project)),
        _ => Err(format!(
            "{text:?} is no request: write global, isolate or join:PROJECT"
        )),
    }
}

/// The number a project gets, or why it keeps its own. `vnids` holds every project's; `fresh` finds a free number.
pub(super) fn decide(
    project: &str,
    request: &str,
    vnids: &BTreeMap<String, u32>,
    fresh: impl FnOnce() -> Option<u32>,
) -> Result<u32, String> {
    let Some(current) = vnids.get(project).copied() else {
        return Err("its NetNamespace is not valid".into());
    };
    match parse(request)? {
        Request::Global => Ok(Vnid::GLOBAL.number()),
        Request::Join(to) => vnids
            .get(to)
            .copied()
            .ok_or_else(|| format!("project {to:?} does not exist or has no network yet")),
        Request::Isolate if project == "default" => {
            Err("the default project has to stay global".into())
        }
        Request::Isolate => {
            let holders = vnids.values().filter(|vnid| **vnid == current).count();
            // Number 0 talks to all, also when only one project has it.
            if holders == 1 && current != Vnid::GLOBAL.number() {
                return Ok(current);
            }
            fresh().ok_or_else(|| "all network numbers are taken".into())
        }
    }
}
