//! What attachment needs from the data path. The sync loop's handle implements it.

use std::time::Instant;

use ipnet::IpNet;
use weft_core::model::{DnsName, Endpoint, EndpointId};

/// What a pod needs to know of the network it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetwork {
    /// This node's pod subnets, one a family.
    pub subnets: Vec<IpNet>,
    /// Cluster and service networks: routed by the pod whatever becomes of its default route.
    pub routes: Vec<IpNet>,
    /// MTU of the pod's interface.
    pub mtu: u16,
}

/// What a new pod needs is not known yet. The text says what is missing: an object, an address, the agent's first pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(pub String);

/// An endpoint is not in the kernel as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The deadline passed; what was still missing.
    #[error("not done before the deadline: {0}")]
    Deadline(String),
    /// The kernel or the world refused; trying again without a change will not help.
    #[error("{0}")]
    Failed(String),
    /// `verify`: what the kernel does not hold.
    #[error("missing in the kernel: {0}")]
    Missing(String),
    /// `verify`: everything is there, and something of somebody else before it.
    #[error("{0}")]
    Foreign(String),
}

/// The data path as the CNI server sees it. Every call may come from several threads at once.
pub trait DataPath: Send + Sync {
    /// Waits until ClusterNetwork, this node's HostSubnet and the project's network are known, at most until `deadline`.
    fn pod_network(&self, project: &str, deadline: Instant) -> Result<PodNetwork, NotReady>;

    /// Like [`Self::pod_network`] for no project in particular: can this node attach pods at all?
    ///
    /// The provided body asks for project `default`; override it where that project may be missing.
    fn node_network(&self, deadline: Instant) -> Result<PodNetwork, NotReady> {
        self.pod_network("default", deadline)
    }

    /// Programs attached, routes and rows written; returns when everything that governs the pod is in the kernel.
    ///
    /// The host-side veth is handed over DOWN, so that no packet can pass before the programs are there. This call
    /// attaches them first, then sets the link up, then adds the host routes (which need it up). Calling it again for
    /// an attached endpoint repairs what is missing and succeeds.
    fn attach(&self, endpoint: Endpoint, deadline: Instant) -> Result<(), AttachError>;

    /// Waits until the names that the project's policy denies were answered, or failed, once, at most until `end`. The names
    /// that were not.
    ///
    /// The first pod of a project makes the node resolve them, and what a name stands for cannot be denied before. Nothing to
    /// wait for in the provided body.
    fn await_denied_names(&self, _project: &str, _end: Instant) -> Vec<DnsName> {
        Vec::new()
    }

    /// Rows, routes and links removed (unknown id is success). The veth itself is the caller's.
    fn detach(&self, id: &EndpointId, deadline: Instant) -> Result<(), AttachError>;

    /// Truthful and cheap: what the kernel holds for the endpoint (links attached, rows present). Err says what is missing.
    fn verify(&self, endpoint: &Endpoint, deadline: Instant) -> Result<(), AttachError>;
}
