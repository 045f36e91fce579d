//! `weft preflight`: everything that a node needs, looked at before the agent starts, each with what to do.
//!
//! # Layout
//! - here: the list of checks
//! - `rehearsal`: loads and attaches the programs in a network namespace that nobody uses
//! - `addresses`: ranges of the cluster beside those of the node; pure
//! - `mount_namespaces`: where kubelet and runtime are; pure but for looking
//! - `others`: another network plugin; pure but for reading one folder

mod addresses;
mod mount_namespaces;
mod others;
mod rehearsal;

use std::path::Path;

use serde::Serialize;
use weft_core::host::OVERLAY_OVERHEAD;
use weft_core::model::ClusterNetwork;

use crate::apply::iptables::Iptables;
use crate::config::{Config, Source};
use crate::netlink::Netlink;
use crate::observe::node::{self, Choice, NodeError, Underlay};
use crate::observe::preflight::{self, PreflightError};
use crate::store::{self, ObjectRef, Reader};
use crate::{ingest, iptables};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// The agent runs, but something will not work as expected, or could not be looked at.
    Warning,
    /// The agent cannot run, or pods would have no network.
    Failed,
}

impl State {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub state: State,
    /// What was found and, unless it is well, what to do.
    pub message: String,
}

impl Check {
    fn new(name: &'static str, state: State, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            name,
            state,
            message,
        }
    }
}

/// The worst of them.
pub fn worst(checks: &[Check]) -> State {
    let states = checks.iter().map(|check| check.state);
    states.max().unwrap_or(State::Ok)
}

/// Looks at everything; what one check finds does not keep the others from being made.
pub fn run(config: &Config, cni_conf_dir: &Path) -> Vec<Check> {
    let missing = preflight::preflight(&config.bpf_dir);
    let mut checks = vec![
        needs(
            "capabilities",
            &missing,
            is_capability,
            preflight::NEEDED.join(", "),
        ),
        needs(
            "BPF file system",
            &missing,
            is_bpffs,
            config.bpf_dir.display().to_string(),
        ),
        needs(
            "kernel",
            &missing,
            is_kernel,
            format!("Linux {}", preflight::release()),
        ),
    ];
    checks.extend(rehearsal::rehearse(config, worst(&checks) == State::Ok));
    checks.push(sysctls());
    checks.extend(iptables(&Iptables::new()));
    let network = cluster_network(&config.source);
    let known = network.as_ref().ok().and_then(Option::as_ref);
    match snapshot() {
        Ok(found) => {
            let underlay = node::select(&choice(config), &found.snapshot);
            checks.push(node_address(underlay.as_ref(), known));
            checks.extend(underlay.ok().map(|underlay| mtu(&underlay, known)));
            checks.push(match &network {
                Ok(Some(network)) => addresses::overlaps(network, &found),
                Ok(None) => Check::new(
                    addresses::NAME,
                    State::Ok,
                    "there is no ClusterNetwork default to compare with yet",
                ),
                Err(reason) => Check::new(addresses::NAME, State::Warning, reason.clone()),
            });
        }
        Err(error) => checks.push(Check::new(ADDRESS, State::Failed, error)),
    }
    checks.extend(mount_namespaces::check());
    checks.push(others::check(cni_conf_dir));
    checks
}

const ADDRESS: &str = "node address";

fn choice(config: &Config) -> Choice {
    Choice {
        name: config.node_name.clone(),
        ip: config.node_ip,
        interface: config.node_interface.clone(),
    }
}

/// What the kernel says, with the routes that are not ours.
fn snapshot() -> Result<addresses::Found, String> {
    let mut netlink = Netlink::open().map_err(|error| error.to_string())?;
    let snapshot = node::snapshot(&mut netlink).map_err(|error| error.to_string())?;
    let routes = netlink
        .foreign_routes()
        .map_err(|error| error.to_string())?;
    Ok(addresses::Found { snapshot, routes })
}

/// The check with this name: what is missing of it, or what is there.
fn needs(
    name: &'static str,
    missing: &[PreflightError],
    concerns: impl Fn(&PreflightError) -> bool,
    found: String,
) -> Check {
    let wrong = missing.iter().filter(|error| concerns(error));
    let lines: Vec<_> = wrong.map(ToString::to_string).collect();
    if lines.is_empty() {
        return Check::new(name, State::Ok, found);
    }
    Check::new(name, State::Failed, lines.join("; "))
}

fn is_capability(error: &PreflightError) -> bool {
    matches!(
        error,
        PreflightError::Capability { .. } | PreflightError::Status(_)
    )
}

fn is_bpffs(error: &PreflightError) -> bool {
    matches!(
        error,
        PreflightError::NoBpffs { .. } | PreflightError::NoParent { .. }
    )
}

fn is_kernel(error: &PreflightError) -> bool {
    matches!(error, PreflightError::Kernel { .. } | PreflightError::NoJit)
}

/// The agent sets some, of the host and of pods; in a container `/proc/sys` is read-only.
fn sysctls() -> Check {
    let folder = weft_netns::sysctl::folder();
    match preflight::writable(folder) {
        Ok(()) => Check::new("sysctls", State::Ok, folder.display().to_string()),
        Err(error) => Check::new(
            "sysctls",
            State::Failed,
            format!(
                "{} cannot be written: {error}: run the agent outside a container, or mount the host's /proc/sys/net \
                 into the container at {}/net",
                folder.display(),
                weft_netns::sysctl::HOST_FOLDER,
            ),
        ),
    }
}

fn iptables(programs: &Iptables) -> [Check; 2] {
    use weft_core::compile::iptables::Family;
    [("iptables", Family::V4), ("ip6tables", Family::V6)].map(|(name, family)| {
        let read = iptables::version(programs.folder(), family).and_then(|version| {
            iptables::read(programs.folder(), family)?;
            Ok(version)
        });
        match read {
            Ok(version) => Check::new(name, State::Ok, version),
            Err(error) => Check::new(name, State::Failed, error.to_string()),
        }
    })
}

/// ClusterNetwork `default`, if the objects can be read and it is there.
fn cluster_network(source: &Source) -> Result<Option<ClusterNetwork>, String> {
    let key = ObjectRef::cluster_network();
    let read = store::open(source, Reader::Agent).and_then(|store| store.get(&key));
    let object = read.map_err(|error| {
        format!("the cluster's networks are not known, so nothing was compared: {error}")
    })?;
    let Some(object) = object else {
        return Ok(None);
    };
    let network = ingest::cluster_network(&object);
    network
        .map(Some)
        .map_err(|error| format!("ClusterNetwork default is not valid: {error}"))
}

fn node_address(
    underlay: Result<&Underlay, &NodeError>,
    network: Option<&ClusterNetwork>,
) -> Check {
    let fail = |error: &NodeError| Check::new(ADDRESS, State::Failed, error.to_string());
    let underlay = match underlay {
        Ok(underlay) => underlay,
        Err(error) => return fail(error),
    };
    match network.map(|network| node::check(&underlay.node, network)) {
        Some(Err(error)) => fail(&error),
        _ => Check::new(
            ADDRESS,
            State::Ok,
            format!("{} on {}", underlay.node.ip, underlay.interface),
        ),
    }
}

/// Without a ClusterNetwork: what its `mtu` may be here at most.
fn mtu(underlay: &Underlay, network: Option<&ClusterNetwork>) -> Check {
    const NAME: &str = "MTU";
    if let Some(problem) = network.and_then(|network| node::check_mtu(underlay, network)) {
        return Check::new(NAME, State::Warning, problem.message);
    }
    let overhead = OVERLAY_OVERHEAD + if underlay.node.ip.is_ipv6() { 20 } else { 0 };
    let Underlay { interface, mtu, .. } = underlay;
    let most = mtu.saturating_sub(overhead);
    let message =
        format!("{interface} has {mtu}: mtu of ClusterNetwork default may be {most} here");
    if most < IPV6_MIN_MTU {
        let what = format!(
            "{message}, too little for IPv6 in pods ({IPV6_MIN_MTU}): raise the interface's"
        );
        return Check::new(NAME, State::Warning, what);
    }
    Check::new(NAME, State::Ok, message)
}

/// RFC 8200, section 5.
const IPV6_MIN_MTU: u32 = 1280;

#[cfg(test)]
mod tests;
