//! A cluster on one machine: nodes, external hosts and the network between them are network namespaces, agents and
//! controller are the real binaries.
//!
//! # Layout
//! - [`name`], [`options`], [`plan`], [`state`]: what there shall be and is, as plain values; `state.json` under `/run/weft-lab/NAME`
//! - [`underlay`]: namespaces, bridge, veth pairs, external hosts
//! - [`process`], [`output`], `enter`, `daemon`: agents, controller and other programs
//! - [`objects`], `cluster`: API objects, where they are kept, and those a lab begins with
//! - [`kubernetes`]: an API server in the place of the manifests directory
//! - [`pod`]: pods through the CNI plugin
//! - `up`, `down`, [`status`]

mod cluster;
mod daemon;
mod down;
mod enter;
mod error;
pub mod kubernetes;
pub mod name;
pub mod objects;
pub mod options;
pub mod output;
pub mod plan;
pub mod pod;
pub mod process;
pub mod state;
pub mod status;
pub mod underlay;
mod up;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weft_netns::NetNs;
use weft_wait::patience::patient;

pub use daemon::{Action, bin_dir, ready};
pub use down::down;
pub use error::Error;
pub use name::LabName;
pub use options::{ExternalSpec, KubernetesMode, Mode, Options, PodRange};
pub use pod::PodSpec;
pub use up::{Progress, up};

use name::netns_path;
use objects::change::{self, Change, Field};
use objects::{Manifests, Objects};
use state::{Lock, Phase, State};

/// How long a command waits for another one's turn to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lab that is up. Several handles, also in several processes, may work on one lab.
#[derive(Clone)]
pub struct Lab {
    name: LabName,
    objects: Arc<dyn Objects>,
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lab").field(&self.name).finish()
    }
}

impl Lab {
    /// Finds a lab that is up.
    pub fn open(name: LabName) -> Result<Self, Error> {
        match State::load(&name)? {
            Some(state) if state.phase == Phase::Ready => Ok(Self::of(&state)),
            Some(_) => Err(Error::HalfMade(name)),
            None => Err(Error::Down(name)),
        }
    }

    fn of(state: &State) -> Self {
        let name = state.lab.clone();
        let objects: Arc<dyn Objects> = match state.kubernetes {
            Some(_) => Arc::new(kubernetes::Api::at(state)),
            None => Arc::new(Manifests::at(name.manifests())),
        };
        Self { name, objects }
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// What the lab is now.
    pub fn state(&self) -> Result<State, Error> {
        State::load(&self.name)?.ok_or_else(|| Error::Down(self.name.clone()))
    }

    /// Changes the state under the lock; nothing is written if `change` fails.
    fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let lock = Lock::take(&self.name, patient(PATIENCE))?;
        let Some(mut state) = State::load(&self.name)? else {
            lock.remove()?;
            return Err(Error::Down(self.name.clone()));
        };
        let value = change(&mut state)?;
        state.save()?;
        Ok(value)
    }

    /// Its API objects.
    pub fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// Writes the objects of a YAML or JSON text; all are read before the first is written. Returns what was written,
    /// as `Kind/NAMESPACE/NAME`.
    pub fn apply(&self, text: &str, origin: &str) -> Result<Vec<String>, Error> {
        let objects = objects::parse(text, origin)?;
        for object in &objects {
            self.objects.apply(object)?;
        }
        Ok(objects
            .iter()
            .map(|object| object.key.to_string())
            .collect())
    }

    /// Removes an object; `namespace` is `default` when left out, and ignored for kinds without.
    pub fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<(), Error> {
        Ok(self
            .objects()
            .delete(kind, namespace.unwrap_or("default"), name)?)
    }

    /// Changes an object by a merge patch (RFC 7386), but not its status; `namespace` as for [`delete`](Self::delete).
    pub fn patch(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<(), Error> {
        let namespace = namespace.unwrap_or("default");
        Ok(self
            .objects()
            .patch(kind, namespace, name, patch)
            .map(drop)?)
    }

    /// Sets and removes annotations or labels of an object. A value that is there is replaced only if `overwrite` says so.
    pub fn annotate(
        &self,
        (kind, namespace, name): (&str, Option<&str>, &str),
        field: Field,
        changes: &[Change],
        overwrite: bool,
    ) -> Result<(), Error> {
        let objects = self.objects();
        let namespace = namespace.unwrap_or("default");
        let found = objects.get(kind, namespace, name)?;
        let found = found.ok_or_else(|| objects::Error::missing(kind, namespace, name))?;
        if let (false, Some(change)) = (overwrite, change::overwrites(field, changes, &found)) {
            return Err(objects::Error::Patch {
                object: found.key.to_string(),
                why: format!(
                    "{} has a value already: --overwrite replaces it",
                    change.key
                ),
            }
            .into());
        }
        let patch = change::patch(field, changes);
        Ok(objects.patch(kind, namespace, name, &patch).map(drop)?)
    }

    /// The network namespace of a node or an external host.
    pub fn host_netns(&self, name: &str) -> Result<NetNs, Error> {
        Ok(NetNs::open(netns_path(&host(&self.state()?, name)?))?)
    }

    /// The network namespace of a pod.
    pub fn pod_netns(&self, namespace: &str, name: &str) -> Result<NetNs, Error> {
        Ok(NetNs::open(netns_path(
            &self.state()?.pod(namespace, name)?.netns,
        ))?)
    }

    /// A command that will run on a node or an external host.
    pub fn on_host(&self, name: &str, program: impl AsRef<OsStr>) -> Result<Command, Error> {
        let state = self.state()?;
        match state.node(name) {
            // What it sees of the machine is its own.
            Ok(node) if state.is_cluster() => {
                kubernetes::node::Inside::of(&self.name, node)?.command(program.as_ref())
            }
            _ => enter::command(&self.name, &host(&state, name)?, program),
        }
    }

    /// A command that will run in a pod.
    pub fn in_pod(
        &self,
        namespace: &str,
        name: &str,
        program: impl AsRef<OsStr>,
    ) -> Result<Command, Error> {
        enter::command(
            &self.name,
            &self.state()?.pod(namespace, name)?.netns,
            program,
        )
    }

    /// The `weft` command line for a node's agent; the first node's if none is named.
    pub fn weft(&self, node: Option<&str>) -> Result<Command, Error> {
        let state = self.state()?;
        daemon::weft(&state, node.unwrap_or("node1"))
    }

    /// The end of a node agent's log, or the controller's.
    pub fn log(&self, name: &str) -> PathBuf {
        self.name.place(name).log()
    }

    /// Stops, kills or starts a node's agent. A start returns when the agent answers.
    pub fn agent(&self, node: &str, action: Action) -> Result<(), Error> {
        self.own_daemons()?;
        let found = self.state()?.node(node)?.clone();
        match (action, found.agent.filter(|process| process.is_alive())) {
            (Action::Start, Some(running)) => Err(Error::Invalid(format!(
                "the agent of {node} runs, pid {}",
                running.pid
            ))),
            (Action::Start, None) => {
                let process = self.update(|state| {
                    let process = daemon::start(state, "agent", node, &found.netns)?;
                    set_agent(state, node, Some(process));
                    Ok(process)
                })?;
                daemon::wait_ready(
                    &self.state()?,
                    node,
                    process,
                    Instant::now() + ready(),
                    &|| false,
                )
            }
            (_, Some(running)) => {
                daemon::end(&self.name, node, running, action)?;
                self.update(|state| {
                    set_agent(state, node, None);
                    Ok(())
                })
            }
            (_, None) => Err(Error::Invalid(format!("the agent of {node} does not run"))),
        }
    }

    /// An error if agents and controller are pods rather than the lab's processes.
    fn own_daemons(&self) -> Result<(), Error> {
        if self.state()?.is_cluster() {
            return Err(Error::Invalid(format!(
                "in lab {} weft runs in pods: `weft-lab kubectl -- -n weft get pods`",
                self.name
            )));
        }
        Ok(())
    }

    /// Stops, kills or starts the controller.
    pub fn controller(&self, action: Action) -> Result<(), Error> {
        self.own_daemons()?;
        match (
            action,
            self.state()?
                .controller
                .filter(|process| process.is_alive()),
        ) {
            (Action::Start, Some(running)) => Err(Error::Invalid(format!(
                "the controller runs, pid {}",
                running.pid
            ))),
            (Action::Start, None) => self.update(|state| {
                state.controller = Some(daemon::start(
                    state,
                    "controller",
                    "controller",
                    &state.underlay,
                )?);
                Ok(())
            }),
            (_, Some(running)) => {
                daemon::end(&self.name, "controller", running, action)?;
                self.update(|state| {
                    state.controller = None;
                    Ok(())
                })
            }
            (_, None) => Err(Error::Invalid("the controller does not run".into())),
        }
    }

    /// Ends the lab; see [`down()`].
    pub fn down(&self) -> Result<(), Error> {
        down(&self.name).map(drop)
    }
}

fn set_agent(state: &mut State, node: &str, process: Option<process::Process>) {
    if let Some(found) = state.nodes.iter_mut().find(|found| found.name == node) {
        found.agent = process;
    }
}

/// Namespace name of a node or external host.
fn host(state: &State, name: &str) -> Result<String, Error> {
    if let Some(external) = state
        .externals
        .iter()
        .find(|external| external.name == name)
    {
        return Ok(external.netns.clone());
    }
    state
        .node(name)
        .map(|node| node.netns.clone())
        .map_err(|error| {
            let names: Vec<_> = state
                .externals
                .iter()
                .map(|external| external.name.as_str())
                .collect();
            if names.is_empty() {
                error
            } else {
                Error::Invalid(format!("{error}, and external hosts {}", names.join(", ")))
            }
        })
}
