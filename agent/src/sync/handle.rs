//! How other threads ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use weft_core::model::{DnsName, Endpoint, EndpointId, Mode, World};
use weft_core::names::Resolution;

use super::Request;
use super::shared::{PassState, Shared};
use crate::bpf::maps::Maps;
use crate::cni::datapath::{AttachError, DataPath, NotReady, PodNetwork};

/// A handle on the loop; cheap to copy.
#[derive(Clone)]
pub struct Handle {
    requests: Sender<Request>,
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(requests: Sender<Request>, shared: Arc<Shared>) -> Self {
        Self { requests, shared }
    }

    /// Where requests go.
    pub fn requests(&self) -> Sender<Request> {
        self.requests.clone()
    }

    /// What can be read without asking.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads the maps on the loop's thread. `None` when the loop has ended or does not answer within ten seconds.
    pub fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Maps) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        let request = Request::Read(Box::new(move |maps| {
            if reply.send(read(maps)).is_err() {
                tracing::debug!("nobody waits for the reading any more");
            }
        }));
        self.requests.send(request).ok()?;
        answer.recv_timeout(Duration::from_secs(10)).ok()
    }

    /// What the resolver has of the names that it watches. `None` as for [`Handle::read`].
    pub fn names(&self) -> Option<BTreeMap<DnsName, Resolution>> {
        let (reply, answer) = sync_channel(1);
        self.requests.send(Request::Names(reply)).ok()?;
        answer.recv_timeout(Duration::from_secs(10)).ok()
    }

    /// Ends the loop. The kernel keeps forwarding.
    pub fn stop(&self) {
        if self.requests.send(Request::Stop).is_err() {
            tracing::debug!("the sync loop has ended already");
        }
    }

    fn ask(
        &self,
        deadline: Instant,
        request: impl FnOnce(SyncSender<Result<(), AttachError>>) -> Request,
    ) -> Result<(), AttachError> {
        let (reply, answer) = sync_channel(1);
        let gone = || AttachError::Failed("the agent is stopping".into());
        self.requests.send(request(reply)).map_err(|_| gone())?;
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                Err(AttachError::Deadline("the sync loop is busy".into()))
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

impl DataPath for Handle {
    fn pod_network(&self, project: &str, deadline: Instant) -> Result<PodNetwork, NotReady> {
        self.shared.wait(deadline, |world, pass| {
            pod_network(world, pass, Some(project))
        })
    }

    fn node_network(&self, deadline: Instant) -> Result<PodNetwork, NotReady> {
        self.shared
            .wait(deadline, |world, pass| pod_network(world, pass, None))
    }

    fn attach(&self, endpoint: Endpoint, deadline: Instant) -> Result<(), AttachError> {
        self.ask(deadline, |reply| Request::Attach(endpoint, reply))
    }

    fn await_denied_names(&self, project: &str, end: Instant) -> Vec<DnsName> {
        self.shared.await_denied_names(project, end)
    }

    fn detach(&self, id: &EndpointId, deadline: Instant) -> Result<(), AttachError> {
        self.ask(deadline, |reply| Request::Detach(id.clone(), reply))
    }

    fn verify(&self, endpoint: &Endpoint, deadline: Instant) -> Result<(), AttachError> {
        self.ask(deadline, |reply| Request::Verify(endpoint.clone(), reply))
    }
}

/// What a pod needs to know, or what is missing and who should bring it.
pub fn pod_network(
    world: &World,
    pass: &PassState,
    project: Option<&str>,
) -> Result<PodNetwork, NotReady> {
    if pass.passes == 0 {
        return Err(NotReady(
            "the agent has not read all objects and brought the kernel in line yet".into(),
        ));
    }
    let Some(network) = &world.network else {
        return Err(NotReady(
            "there is no valid ClusterNetwork default: create it, or mend the one there is".into(),
        ));
    };
    let name = &world.node.name;
    let Some(host) = world.own_host() else {
        return Err(NotReady(format!(
            "there is no HostSubnet {name} for this node: is the controller running, and is there a Node {name}?"
        )));
    };
    if world.overlay_ifindex == 0 {
        let cause = pass.failures.first();
        return Err(NotReady(cause.map_or_else(
            || "the overlay device is missing: the agent is about to make it".into(),
            |cause| format!("the overlay device is missing: {cause}"),
        )));
    }
    if let Some(project) = project
        && network.mode == Mode::Multitenant
        && !world.projects.contains_key(project)
    {
        return Err(NotReady(format!(
            "there is no NetNamespace {project}: is the controller running, and is there a Namespace {project}?"
        )));
    }
    let routes = network
        .networks
        .iter()
        .map(|entry| entry.cidr)
        .chain(network.services.iter().copied());
    Ok(PodNetwork {
        subnets: host.subnets.clone(),
        routes: routes.collect(),
        mtu: network.mtu,
    })
}
