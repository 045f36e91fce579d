//! Making a lab.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use weft_wait::patience::patient;

use super::daemon::{self, ready};
use super::down::{down_locked, remains};
use super::error::{Error, file};
use super::kubernetes::{self, Crds};
use super::name::{LabName, netns_path};
use super::options::Options;
use super::plan::plan;
use super::state::{Kubernetes, Lock, Phase, State, boot_id};
use super::{Lab, cluster, set_agent, underlay};

/// How `up` reports, and is told to give up.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    /// Called with one line before each step.
    pub say: &'a dyn Fn(&str),
    /// Asked while waiting; `true` ends the `up` with [`Error::Interrupted`].
    pub cancelled: &'a dyn Fn() -> bool,
}

impl Progress<'_> {
    /// For tests: says nothing, goes on to the end.
    pub const SILENT: Self = Progress {
        say: &|_| {},
        cancelled: &|| false,
    };
}

/// Makes a lab and waits until every agent answers. What an earlier lab of the name left behind is removed first; a
/// lab that works is an error. When this fails, nothing of the new lab is left.
pub fn up(name: &LabName, options: &Options, progress: Progress<'_>) -> Result<Lab, Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Invalid("namespaces are made by root only".into()));
    }
    let bin_dir = daemon::bin_dir(options.bin_dir.clone())?;
    for binary in ["weft", "weft-cni"] {
        daemon::binary(&bin_dir, binary)?;
    }
    let mut state = plan(name, options, bin_dir, boot_id()?)?;
    state.kubernetes = options
        .kubernetes
        .map(|mode| Kubernetes::planned(mode, options))
        .transpose()?;
    // Of a bare cluster the installation brings them.
    let own = state.kubernetes.as_ref().filter(|_| !state.is_bare());
    let crds = own.map(|_| {
        let told = options.crds.clone();
        Crds::read(&told.unwrap_or_else(kubernetes::own_crds))
    });
    let crds = crds.transpose()?;
    let source = kubernetes::source(name, state.kubernetes.is_some());
    daemon::agent_configuration(name, "node1", &source, options.agent_config.as_deref())?;

    let lock = Lock::take(name, patient(Duration::from_secs(1)))?;
    match State::load(name)? {
        Some(old) if works(&old) => return Err(Error::Up(name.clone())),
        Some(old) => {
            (progress.say)(&format!("removing what is left of an earlier lab {name}"));
            down_locked(name, Some(&old))?;
        }
        None => remains(name)?,
    }
    if let Some(foreign) = state
        .namespaces()
        .into_iter()
        .find(|netns| netns_path(netns).exists())
    {
        return Err(Error::Foreign(foreign.to_owned()));
    }
    match make(state, options, crds.as_ref(), progress) {
        Ok(lab) => Ok(lab),
        Err(error) => {
            (progress.say)("removing what was made so far");
            // The first error is the one to report; what this leaves, the next `up` or `down` removes.
            if down_locked(name, State::load(name).ok().flatten().as_ref()).is_ok() {
                drop(lock.remove());
            }
            Err(error)
        }
    }
}

/// Everything that should run does.
fn works(state: &State) -> bool {
    let alive = |process: Option<super::process::Process>| {
        process.is_some_and(super::process::Process::is_alive)
    };
    // In a whole cluster weft runs in pods.
    let lab_s =
        |process: &Option<super::process::Process>| process.is_some() || !state.is_cluster();
    state.phase == Phase::Ready && state.daemons().filter(lab_s).all(alive)
}

fn make(
    mut state: State,
    options: &Options,
    crds: Option<&Crds>,
    progress: Progress<'_>,
) -> Result<Lab, Error> {
    let name = state.lab.clone();
    let goes_on = || {
        if (progress.cancelled)() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    };
    let source = kubernetes::source(&name, state.kubernetes.is_some());
    let directory = match state.kubernetes {
        Some(_) => name.dir(),
        None => name.manifests(),
    };
    fs::create_dir_all(&directory).map_err(file("create", &directory))?;
    state.save()?;
    (progress.say)(&format!(
        "underlay {}, {} nodes, {} external hosts",
        super::plan::UNDERLAY[0],
        state.nodes.len(),
        state.externals.len()
    ));
    if !options.dns.is_empty() {
        let path = name.resolv_conf();
        fs::write(&path, resolver(&options.dns)).map_err(file("write", &path))?;
    }
    underlay::make(&state)?;
    let lab = Lab::of(&state);
    if state.kubernetes.is_some() {
        (progress.say)("starting etcd and the API server");
        kubernetes::start(&mut state)?;
        let spaces = if state.is_cluster() {
            kubernetes::whole::nodes(&mut state, progress)?
        } else {
            Vec::new()
        };
        kubernetes::complete(&state, &kubernetes::Api::at(&state), crds, progress)?;
        if state.is_cluster() {
            if !state.is_bare() {
                cluster::write(lab.objects(), &state, options)?;
            }
            kubernetes::whole::complete(&mut state, &lab, (options, spaces), progress)?;
            state.phase = Phase::Ready;
            state.save()?;
            return Ok(lab);
        }
    }
    cluster::write(lab.objects(), &state, options)?;
    goes_on()?;

    (progress.say)("starting the controller and an agent on each node");
    daemon::prepare_controller(&name, &source)?;
    state.controller = Some(daemon::start(
        &state,
        "controller",
        "controller",
        &state.underlay,
    )?);
    state.save()?;
    for node in state.nodes.clone() {
        daemon::prepare_node(
            &name,
            &node.name,
            (&source, options.agent_config.as_deref()),
            &state.bin_dir,
        )?;
        let process = daemon::start(&state, "agent", &node.name, &node.netns)?;
        set_agent(&mut state, &node.name, Some(process));
        state.save()?;
    }
    let deadline = Instant::now() + ready();
    for node in &state.nodes {
        let Some(process) = node.agent else { continue };
        daemon::wait_ready(&state, &node.name, process, deadline, progress.cancelled)?;
        (progress.say)(&format!("{} ({}) is ready", node.name, node.addresses[0]));
    }
    goes_on()?;
    state.phase = Phase::Ready;
    state.save()?;
    Ok(lab)
}

fn resolver(servers: &[IpAddr]) -> String {
    let lines: Vec<String> = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    lines.concat()
}
