//! What is wrong with where the processes of a node are; pure.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weft_core::model::Problem;
use weft_netns::kubens::Found;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The kubelet.
    Kubelet,
    /// CRI-O or containerd.
    Runtime,
    /// `weft agent`, where it runs outside of containers.
    Agent,
}

/// A process of this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// What for.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// Its mount namespace, as `mnt:[4026531841]`.
    pub namespace: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// What was seen. Processes that cannot be seen are not in it, as all in a container without the host's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Path of the pin.
    pub pin: PathBuf,
    /// What stands there.
    pub found: Found,
    /// The namespace of process 1, if that is this node's.
    pub host: Option<String>,
    /// Kubelet, runtime and agent.
    pub processes: Vec<Process>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// It has to be mended; else it only has to be known.
    pub wrong: bool,
    /// What was found and, if it is wrong, what to do.
    pub message: String,
}

impl Finding {
    /// For `weft status`.
    pub fn problem(&self) -> Problem {
        Problem::of_part("mount namespaces", self.message.as_str())
    }
}

/// Everything there is to tell; nothing when all agree, and nothing about what was not seen.
pub fn judge(seen: &Seen) -> Vec<Finding> {
    let mut findings: Vec<_> = pin(seen).into_iter().map(wrong).collect();
    findings.extend(kubelet_and_runtime(seen).map(wrong));
    findings.extend(agent(seen));
    findings
}

fn wrong(message: String) -> Finding {
    Finding {
        wrong: true,
        message,
    }
}

fn pin(seen: &Seen) -> Option<String> {
    let path = seen.pin.display();
    match &seen.found {
        Found::Nothing | Found::Valid(_) => None,
        Found::Stale => Some(format!(
            "{path} is stale: no namespace is pinned there although its files are there, so that services start on the host: \
             systemctl restart kubens.service, then the container runtime and the kubelet; if the service is not wanted, \
             remove {path} and the file env beside it"
        )),
        Found::Stacked(all) => Some(format!(
            "{} namespaces are pinned on top of each other at {path} ({}): what starts now joins the last one, what was started \
             before is in another: restart the node, or stop kubelet and container runtime and all their containers, and \
             systemctl restart kubens.service",
            all.len(),
            all.join(", "),
        )),
        Found::Mismatched(other) => Some(format!(
            "{path} is no mount namespace, but {other}: unmount it and systemctl restart kubens.service"
        )),
    }
}

impl Seen {
    fn of(&self, role: Role) -> Vec<&Process> {
        let those = self.processes.iter().filter(|process| process.role == role);
        those.collect()
    }

    fn is_host(&self, namespace: &str) -> bool {
        self.host.as_deref() == Some(namespace)
    }

    /// `mnt:[4026531841], the host's`
    fn named(&self, namespace: &str) -> String {
        let what = if self.is_host(namespace) {
            ", the host's"
        } else if self.found.joined() == Some(namespace) {
            ", the one of kubens.service"
        } else {
            ""
        };
        format!("{namespace}{what}")
    }

    fn sentence(&self, processes: &[&Process]) -> String {
        let words = processes
            .iter()
            .map(|it| format!("{it} is in {}", self.named(&it.namespace)));
        words.collect::<Vec<_>>().join("; ")
    }
}

fn names(processes: &[&Process]) -> String {
    let mut names: Vec<_> = processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// A node may have a runtime beside the kubelet's, so one that agrees is enough.
fn kubelet_and_runtime(seen: &Seen) -> Option<String> {
    let (kubelets, runtimes) = (seen.of(Role::Kubelet), seen.of(Role::Runtime));
    let kubelet = kubelets.first()?;
    let runtime = runtimes.first()?;
    let both: Vec<_> = kubelets.iter().chain(&runtimes).copied().collect();
    let agrees = |kubelet: &&&Process| runtimes.iter().any(|it| it.namespace == kubelet.namespace);
    if !kubelets.iter().all(|kubelet| agrees(&kubelet)) {
        let apart = match seen.found.joined() {
            Some(joined) => both
                .iter()
                .filter(|it| it.namespace != joined)
                .copied()
                .collect(),
            None => both.clone(),
        };
        return Some(format!(
            "{}: containers do not get the volumes that the kubelet mounts: put both into one (weft kubens install; weft kubens \
             status), then systemctl restart {} and make the node's pods anew",
            seen.sentence(&both),
            names(&apart),
        ));
    }
    let namespace = kubelet.namespace.as_str();
    let both = [
        *kubelet,
        *runtimes
            .iter()
            .find(|it| it.namespace == namespace)
            .unwrap_or(runtime),
    ];
    let (who, is) = (
        format!("{} and {}", both[0], both[1]),
        seen.named(namespace),
    );
    match seen.found.joined() {
        Some(joined) if joined == namespace => None,
        Some(joined) if seen.is_host(namespace) => Some(format!(
            "kubens.service is on ({joined}), and {who} are in {is}: their mounts wake everybody on the host: restart the node, \
             or drain it and systemctl restart {}; weft kubens install makes them enter",
            names(&both),
        )),
        // Of a node in a container it is not known what its own is.
        _ if seen.host.is_none() || seen.is_host(namespace) => None,
        Some(joined) => Some(format!(
            "{who} are in {is}, which nobody else can join, and what starts now joins {joined}: restart the node, or drain it \
             and systemctl restart {}",
            names(&both),
        )),
        None => Some(format!(
            "{who} are in {is}, which is neither the host's nor pinned: whichever restarts first leaves the other: systemctl \
             restart kubens.service, then drain the node and systemctl restart {}",
            names(&both),
        )),
    }
}

fn agent(seen: &Seen) -> Option<Finding> {
    let agents = seen.of(Role::Agent);
    let agent = agents.first()?;
    let namespace = agent.namespace.as_str();
    let others = seen.processes.iter().filter(|it| it.role != Role::Agent);
    if others.clone().any(|it| it.namespace == namespace) {
        return None;
    }
    let known = seen.is_host(namespace) || seen.found.joined() == Some(namespace);
    if !known && seen.host.is_some() {
        return Some(wrong(format!(
            "{agent} is in {namespace}, which is neither the host's nor the one of kubens.service: mounts of neither reach it: \
             restart it"
        )));
    }
    let other = others.min()?;
    let message = format!(
        "{agent} is in {}, {other} in {}; the agent works from either",
        seen.named(namespace),
        seen.named(&other.namespace),
    );
    Some(Finding {
        wrong: false,
        message,
    })
}

#[cfg(test)]
mod tests;
