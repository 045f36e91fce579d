//! The connection to the API server, from inside the underlay's namespace.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::discovery::{ApiCapabilities, ApiResource};
use kube::core::gvk::GroupVersionKind;
use kube::discovery::Discovery;
use tokio::runtime::{Builder, Runtime};
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::credentials::Files;
use crate::lab::name::netns_path;
use crate::lab::objects::Error;
use crate::lab::state::State;

/// How long one request may take: as long as the API server gives itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// A kind as the API server has it.
pub type Resource = (ApiResource, ApiCapabilities);

/// Connects at the first request.
pub struct Client {
    netns: PathBuf,
    kubeconfig: PathBuf,
    link: Mutex<Option<Arc<Link>>>,
    kinds: Mutex<Option<Arc<Discovery>>>,
}

struct Link {
    /// Runs only while a caller waits, on the caller's thread inside the namespace: sockets are born there.
    runtime: Runtime,
    client: kube::Client,
}

impl Client {
    pub fn of(state: &State) -> Self {
        Self {
            netns: netns_path(&state.underlay),
            kubeconfig: Files::of(&state.lab).kubeconfig(),
            link: Mutex::default(),
            kinds: Mutex::default(),
        }
    }

    /// Asks the API server; `what` names the request in an error.
    pub fn ask<T: Send>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(kube::Client) -> kube::Result<T> + Send,
    ) -> Result<T, Error> {
        let failed = |why: String| Error::Server {
            what: what.to_owned(),
            why,
        };
        let link = self.link().map_err(failed)?;
        let answered = NetNs::open(&self.netns).and_then(|net| {
            net.run(|| {
                let client = link.client.clone();
                link.runtime
                    .block_on(async { tokio::time::timeout(patient(PATIENCE), work(client)).await })
            })
        });
        match answered {
            Ok(Ok(answer)) => answer.map_err(|answer| Error::Api {
                what: what.to_owned(),
                answer: Box::new(answer),
            }),
            Ok(Err(_elapsed)) => Err(failed(format!("no answer within {:?}", patient(PATIENCE)))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn link(&self) -> Result<Arc<Link>, String> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = &*link {
            return Ok(Arc::clone(link));
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let kubeconfig =
            Kubeconfig::read_from(&self.kubeconfig).map_err(|error| error.to_string())?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            let config = config.map_err(|error| error.to_string())?;
            kube::Client::try_from(config).map_err(|error| error.to_string())
        })?;
        let made = Arc::new(Link { runtime, client });
        *link = Some(Arc::clone(&made));
        Ok(made)
    }

    /// The kind of this group, version and name.
    pub fn kind(&self, gvk: &GroupVersionKind) -> Result<Option<Resource>, Error> {
        self.look_up(|kinds| kinds.resolve_gvk(gvk))
    }

    /// The kind that a user calls so: in any case, singular or plural.
    pub fn kind_called(&self, name: &str) -> Result<Option<Resource>, Error> {
        let name = name.to_lowercase();
        self.look_up(|kinds| {
            // The core group first: its name is empty.
            let groups = kinds.groups_alphabetical().into_iter();
            groups
                .flat_map(kube::discovery::ApiGroup::recommended_resources)
                .find(|(kind, _)| kind.plural == name || kind.kind.to_lowercase() == name)
        })
    }

    /// Looks among the kinds known so far, then asks whether there are new ones.
    fn look_up<T>(&self, find: impl Fn(&Discovery) -> Option<T>) -> Result<Option<T>, Error> {
        let known = {
            let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.clone()
        };
        if let Some(found) = known.as_deref().and_then(&find) {
            return Ok(Some(found));
        }
        let fresh = self.ask("list the kinds of objects", async |client| {
            Discovery::new(client).run_aggregated().await
        })?;
        let found = find(&fresh);
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(fresh));
        Ok(found)
    }
}
