//! A real API server, and etcd below it, in the place of the manifests directory: `--kubernetes=api`. Or a whole cluster:
//! `--kubernetes`, and `--kubernetes=bare` for one without weft.
//!
//! Both run in the underlay's namespace, where every node reaches the API server at the underlay's own address and
//! nobody but the API server reaches etcd. With the API server alone no other part of a control plane runs, and no
//! kubelet: lab pods are Pod objects that the lab itself binds, reports as running and removes. In a whole cluster all that
//! is there, and weft runs in pods.
//!
//! # Layout
//! - `programs`: where the programs are, and which version is expected
//! - `credentials`: certificates, keys, users, kubeconfig
//! - `servers`: etcd and kube-apiserver, their start and end
//! - `api`: objects on the API server; `client`: the connection below it
//! - `crds`: weft's own kinds
//! - `whole`: the steps of a whole cluster; `plane`: the rest of its control plane
//! - `space`: what a node sees of the machine; `node`: what runs there; `images`: what runs in its pods
//! - `containers`: the end of all that
//! - [`machines`]: what a cluster on machines of their own takes from all this

mod api;
mod client;
pub(super) mod containers;
mod crds;
mod credentials;
mod images;
pub mod machines;
pub(super) mod node;
mod plane;
mod programs;
mod servers;
mod space;
pub(super) mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

pub(super) use api::Api;
pub(super) use crds::Crds;
pub use credentials::{Files, server};

use super::daemon::Action;
use super::error::Error;
use super::options::{KubernetesMode, Options};
use super::plan::underlay_addresses;
use super::state::{Kubernetes, State};
use super::{Lab, LabName, Progress, daemon, enter};
use credentials::Issue;
use servers::{APISERVER, ready};

impl Kubernetes {
    /// What the state says of it before anything is made; refuses what cannot work.
    pub(super) fn planned(mode: KubernetesMode, options: &Options) -> Result<Self, Error> {
        let (_, services) = options.networks();
        programs::etcd()?;
        if mode != KubernetesMode::Api {
            for (name, package) in [
                ("containerd", "containerd"),
                ("ctr", "containerd"),
                ("runc", "runc"),
            ] {
                programs::installed(name, package)?;
            }
            if mode == KubernetesMode::Cluster {
                images::weft()?;
            }
            if options.agent_config.is_some() {
                return Err(Error::Invalid(
                    "--agent-config: in a whole cluster the ConfigMap weft/weft has it".into(),
                ));
            }
        }
        if mode == KubernetesMode::Bare && options.crds.is_some() {
            return Err(Error::Invalid(
                "--crds: a bare cluster has none of weft's kinds until weft is installed".into(),
            ));
        }
        Ok(Self {
            mode,
            programs: programs::directory(mode)?,
            services,
            etcd: None,
            apiserver: None,
            plane: BTreeMap::new(),
        })
    }
}

/// Where agents and controller find the objects, as their configuration says it.
pub(super) fn source(lab: &LabName, kubernetes: bool) -> Value {
    if kubernetes {
        json!({"kubernetes": {"kubeconfig": Files::of(lab).kubeconfig()}})
    } else {
        json!({"manifests": lab.manifests()})
    }
}

/// Starts etcd and the API server; both are in the state when this returns.
pub(super) fn start(state: &mut State) -> Result<(), Error> {
    let Some(planned) = &mut state.kubernetes else {
        return Ok(());
    };
    let issue = Issue {
        server: &underlay_addresses(1),
        services: &planned.services,
        nodes: &state
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect::<Vec<_>>(),
    };
    credentials::write(&Files::of(&state.lab), &issue)?;
    let (etcd, api) = (
        servers::etcd(state)?,
        // It waits for etcd by itself.
        servers::apiserver(state)?,
    );
    if let Some(kubernetes) = &mut state.kubernetes {
        (kubernetes.etcd, kubernetes.apiserver) = (Some(etcd), Some(api));
    }
    state.save()
}

/// Waits until the API server is ready and knows these kinds.
pub(super) fn complete(
    state: &State,
    api: &Api,
    crds: Option<&Crds>,
    progress: Progress<'_>,
) -> Result<(), Error> {
    servers::wait_ready(state, api, progress.cancelled)?;
    (progress.say)(&format!("the API server is ready ({})", server()));
    crds.map_or(Ok(()), |crds| crds.establish(api, Instant::now() + ready()))
}

impl Lab {
    /// `kubectl` with the lab's kubeconfig, in the namespace from which the API server is reached.
    pub fn kubectl(&self) -> Result<Command, Error> {
        let state = self.state()?;
        let kubernetes = self.kubernetes(&state)?;
        let files = Files::of(self.name());
        let kubectl = programs::program(&kubernetes.programs, "kubectl")?;
        let mut command = enter::command(self.name(), &state.underlay, kubectl)?;
        command
            .env("KUBECONFIG", files.kubeconfig())
            // All labs have the same server address, by which the cache in the user's home would name its files.
            .env("KUBECACHEDIR", files.cache())
            .env("KUBERC", "off");
        Ok(command)
    }

    /// Stops, kills or starts the API server. A start returns when it is ready.
    pub fn api(&self, action: Action) -> Result<(), Error> {
        let state = self.state()?;
        let running = self.kubernetes(&state)?.apiserver;
        match (action, running.filter(|process| process.is_alive())) {
            (Action::Start, Some(running)) => Err(Error::Invalid(format!(
                "the API server runs, pid {}",
                running.pid
            ))),
            (Action::Start, None) => {
                self.update(|state| {
                    let started = servers::apiserver(state)?;
                    set_apiserver(state, Some(started));
                    Ok(())
                })?;
                let api = Api::at(&state);
                servers::wait_ready(&self.state()?, &api, &|| false)
            }
            (_, Some(running)) => {
                daemon::end(self.name(), APISERVER, running, action)?;
                self.update(|state| {
                    set_apiserver(state, None);
                    Ok(())
                })
            }
            (_, None) => Err(Error::Invalid("the API server does not run".into())),
        }
    }

    fn kubernetes<'a>(&self, state: &'a State) -> Result<&'a Kubernetes, Error> {
        state.kubernetes.as_ref().ok_or_else(|| {
            Error::Invalid(format!(
                "lab {} keeps its objects in a directory; `weft-lab up --kubernetes=api` makes one with an API server",
                self.name()
            ))
        })
    }
}

fn set_apiserver(state: &mut State, process: Option<super::process::Process>) {
    if let Some(kubernetes) = &mut state.kubernetes {
        kubernetes.apiserver = process;
    }
}

/// Weft's own definitions, in the source tree that this program was built from.
pub(super) fn own_crds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds")
}
