//! Agents and the controller: their files, their start, their end.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_wait::patience::patient;
use yaml_serde::Mapping;

use super::enter;
use super::error::{Error, file};
use super::name::{LabName, Place};
use super::output::output_within;
use super::process::{Process, spawn_daemon};
use super::state::{Phase, State};

/// How long an agent may take from its start to its first answer.
pub fn ready() -> Duration {
    patient(Duration::from_secs(30))
}
/// How long a daemon may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);
/// Keys of an agent's configuration that say where it is; the lab's own.
const OWN_KEYS: [&str; 5] = ["nodeName", "source", "runDir", "stateDir", "bpfDir"];

/// What to do to a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGTERM, and wait for the end.
    Stop,
    /// SIGKILL.
    Kill,
    /// Start it and wait until it answers.
    Start,
}

/// Makes an agent's files: configuration, directories, its own BPF file system, what a container runtime is given.
pub(super) fn prepare_node(
    lab: &LabName,
    name: &str,
    (source, agent_config): (&Value, Option<&str>),
    bin_dir: &Path,
) -> Result<(), Error> {
    let place = lab.place(name);
    for directory in [
        place.run(),
        place.state(),
        place.bpf_mount(),
        place.cni_conf(),
        place.cni_bin(),
    ] {
        fs::create_dir_all(&directory).map_err(file("create", &directory))?;
    }
    let at = place.bpf_mount();
    mount(
        Some("bpf"),
        &at,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(|errno| file("mount a bpf file system on", &at)(errno.into()))?;
    fs::create_dir(place.bpf()).map_err(file("create", &place.bpf()))?;
    write_yaml(
        &place.config(),
        &agent_configuration(lab, name, source, agent_config)?,
    )?;
    let conflist = place.cni_conf().join("10-weft.conflist");
    let text = format!("{:#}\n", network_config(&place));
    fs::write(&conflist, text).map_err(file("write", &conflist))?;
    let plugin = place.cni_bin().join("weft-cni");
    symlink(binary(bin_dir, "weft-cni")?, &plugin).map_err(file("link", &plugin))
}

/// What `weft` needs to find the objects, and the agent of a node whose agent is not the lab's: the lab's folders are the
/// node's.
pub(super) fn prepare_command_line(lab: &LabName, name: &str) -> Result<(), Error> {
    let source = super::kubernetes::source(lab, true);
    write_yaml(
        &lab.place(name).config(),
        &agent_configuration(lab, name, &source, None)?,
    )
}

/// The network configuration list of a node.
pub(super) fn network_config(place: &Place) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "weft",
        "plugins": [{"type": "weft-cni", "runDir": place.run(), "capabilities": {"bandwidth": true}}],
    })
}

/// Checks what `--agent-config` holds, so that `up` refuses it before anything is made.
pub(super) fn agent_configuration(
    lab: &LabName,
    name: &str,
    source: &Value,
    merged: Option<&str>,
) -> Result<yaml_serde::Value, Error> {
    let invalid = |why: String| Error::Invalid(format!("--agent-config: {why}"));
    let place = lab.place(name);
    let mut own = json!({
        "nodeName": name,
        "nodeInterface": "eth0",
        "source": source,
        "runDir": place.run(),
        "stateDir": place.state(),
        "bpfDir": place.bpf(),
    });
    let extra: Option<Mapping> = merged
        .map(yaml_serde::from_str)
        .transpose()
        .map_err(|error| invalid(error.to_string()))?;
    let extra = extra.unwrap_or_default();
    if let Some(key) = OWN_KEYS.iter().find(|key| extra.contains_key(**key)) {
        return Err(invalid(format!("{key} is the lab's own to set")));
    }
    // Top-level keys replace the lab's: what is left of them has no parts that both sides would set.
    for (key, value) in extra {
        let key = key
            .as_str()
            .ok_or_else(|| invalid("a key is no text".into()))?
            .to_owned();
        own[key] = serde_json::to_value(value).map_err(|error| invalid(error.to_string()))?;
    }
    yaml_serde::to_value(own).map_err(|error| invalid(error.to_string()))
}

pub(super) fn prepare_controller(lab: &LabName, source: &Value) -> Result<(), Error> {
    let place = lab.place("controller");
    for directory in [place.run(), place.state()] {
        fs::create_dir_all(&directory).map_err(file("create", &directory))?;
    }
    let config = json!({
        "nodeName": "controller",
        "source": source,
        "runDir": place.run(),
        "stateDir": place.state(),
    });
    write_yaml(&place.config(), &config)
}

fn write_yaml(path: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let text = yaml_serde::to_string(value)
        .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))?;
    fs::write(path, text).map_err(file("write", path))
}

/// Where the binaries are: as told, else `WEFT_BIN_DIR`, else beside this program (tests run one directory deeper).
pub fn bin_dir(told: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(told) = told.or_else(overridden) {
        return Ok(told);
    }
    let own = std::env::current_exe().map_err(file("find", Path::new("/proc/self/exe")))?;
    let mut above = own.ancestors().skip(1).take(2);
    let found = above.find(|directory| directory.join("weft").is_file());
    found
        .map(Path::to_owned)
        .ok_or_else(|| Error::Binary(own.with_file_name("weft")))
}

fn overridden() -> Option<PathBuf> {
    std::env::var_os("WEFT_BIN_DIR")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The path of a binary; an error with the remedy if it is not there.
pub(super) fn binary(bin_dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = bin_dir.join(name);
    match path.canonicalize() {
        Ok(found) if found.is_file() => Ok(found),
        _ => Err(Error::Binary(path)),
    }
}

/// A later command's `WEFT_BIN_DIR` wins over that of `up`: that is how an upgrade is tried.
pub(super) fn current_binary(state: &State, name: &str) -> Result<PathBuf, Error> {
    binary(&overridden().unwrap_or_else(|| state.bin_dir.clone()), name)
}

/// Starts `weft ROLE --config FILE` in a namespace.
pub(super) fn start(state: &State, role: &str, name: &str, netns: &str) -> Result<Process, Error> {
    let place = state.lab.place(name);
    let weft = current_binary(state, "weft")?;
    // setsid: a closed terminal or Ctrl-C ends this command, not the daemon.
    let mut command = enter::command(&state.lab, netns, "setsid")?;
    command
        .arg(weft)
        .arg(role)
        .arg("--config")
        .arg(place.config());
    spawn_daemon(command, &place.log())
}

/// Ends a daemon.
pub(super) fn end(
    lab: &LabName,
    name: &str,
    process: Process,
    action: Action,
) -> Result<(), Error> {
    let signal = if action == Action::Kill {
        Signal::SIGKILL
    } else {
        Signal::SIGTERM
    };
    process.signal(signal);
    let stop = patient(STOP);
    if !process.wait_end(stop) {
        let why = format!(
            "pid {} did not end within {stop:?} of {signal}",
            process.pid
        );
        return Err(failure(lab, name, why));
    }
    process.reap();
    Ok(())
}

/// Waits until a node's agent answers `weft status`, at most until `deadline`.
pub(super) fn wait_ready(
    state: &State,
    node: &str,
    process: Process,
    deadline: Instant,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Error> {
    loop {
        let mut status = weft(state, node)?;
        status.args(["status", "-o", "json"]);
        let answer = output_within(&mut status, b"", patient(Duration::from_secs(5)))?;
        let why = match (process.wait_end(Duration::ZERO), answer.success) {
            (true, _) => "the agent ended".to_owned(),
            (false, true) => return Ok(()),
            (false, false) if cancelled() => return Err(Error::Interrupted),
            // Nothing becomes ready without the subnets that it gives out.
            (false, false) if !controller_alive(state) => {
                return Err(failure(&state.lab, "controller", "it ended".into()));
            }
            (false, false) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            (false, false) => {
                let said = [answer.stdout, answer.stderr].join("\n");
                format!(
                    "the agent is not ready; `weft status` says: {}",
                    said.trim()
                )
            }
        };
        return Err(failure(&state.lab, node, why));
    }
}

/// False if it ended while the lab was being made; later it may be away on purpose.
fn controller_alive(state: &State) -> bool {
    state.phase != Phase::Making || state.controller.is_none_or(Process::is_alive)
}

/// The `weft` command line for a node's agent.
pub(super) fn weft(state: &State, node: &str) -> Result<Command, Error> {
    let found = state.node(node)?;
    let mut command = enter::command(&state.lab, &found.netns, current_binary(state, "weft")?)?;
    command.env("WEFT_CONFIG", state.lab.place(node).config());
    Ok(command)
}

pub(super) fn failure(lab: &LabName, name: &str, why: String) -> Error {
    failed(name, why, &lab.place(name).log())
}

/// A program that writes its own log.
pub(super) fn failed(name: &str, why: String, log: &Path) -> Error {
    Error::Daemon {
        name: name.to_owned(),
        why,
        log: tail(log),
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(16 * 1024);
        file.seek(SeekFrom::Start(start))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
