//! The kinds of object that are read and written, and how much of each is kept.

use kube::core::ApiResource;
use weft_core::model::Kind;

use crate::store::Reader;

/// What of an object is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it; only such objects can be written.
    Whole,
    /// Name, UID and labels. Nothing more comes over the wire.
    Metadata,
    /// Name, UID and `status.addresses` of a Node, which is large: images, conditions, what kubelet says every ten seconds.
    Addresses,
    /// Name, UID, `spec.nodeName` and the condition `Ready` of a Pod.
    Readiness,
}

/// What the API server has of a kind.
#[derive(Debug)]
pub(super) struct ServedKind {
    pub(super) kind: Kind,
    pub(super) group: &'static str,
    version: &'static str,
    pub(super) plural: &'static str,
    pub(super) namespaced: bool,
    pub(super) part: Part,
    /// Only those with these labels in the namespace that weft runs in.
    pub(super) at_home: Option<&'static str>,
    /// Who watches it.
    readers: &'static [Reader],
}

/// Labels of the agents' pods.
pub(super) const AGENTS: &str = "app.kubernetes.io/name=weft,app.kubernetes.io/component=agent";

const OURS: &str = "network.openshift.io";

const fn ours(
    kind: Kind,
    plural: &'static str,
    namespaced: bool,
    readers: &'static [Reader],
) -> ServedKind {
    ServedKind {
        kind,
        group: OURS,
        version: "v1",
        plural,
        namespaced,
        part: Part::Whole,
        at_home: None,
        readers,
    }
}

const fn core(
    kind: Kind,
    plural: &'static str,
    part: Part,
    readers: &'static [Reader],
) -> ServedKind {
    ServedKind {
        kind,
        group: "",
        version: "v1",
        plural,
        namespaced: false,
        part,
        at_home: None,
        readers,
    }
}

/// One that is never watched.
const fn unwatched(kind: Kind, group: &'static str, plural: &'static str) -> ServedKind {
    ServedKind {
        kind,
        group,
        version: "v1",
        plural,
        namespaced: true,
        part: Part::Whole,
        at_home: None,
        readers: &[],
    }
}

const EVERYBODY: &[Reader] = &[Reader::Agent, Reader::Controller, Reader::PodNetwork];
const DAEMONS: &[Reader] = &[Reader::Agent, Reader::Controller];

static CLUSTER_NETWORK: ServedKind =
    ours(Kind::ClusterNetwork, "clusternetworks", false, EVERYBODY);
static HOST_SUBNET: ServedKind = ours(Kind::HostSubnet, "hostsubnets", false, DAEMONS);
static NET_NAMESPACE: ServedKind = ours(Kind::NetNamespace, "netnamespaces", false, EVERYBODY);
static EGRESS_NETWORK_POLICY: ServedKind = ours(
    Kind::EgressNetworkPolicy,
    "egressnetworkpolicies",
    true,
    DAEMONS,
);
static NODE: ServedKind = core(Kind::Node, "nodes", Part::Addresses, &[Reader::Controller]);
static NAMESPACE: ServedKind = core(
    Kind::Namespace,
    "namespaces",
    Part::Metadata,
    &[Reader::Controller, Reader::PodNetwork],
);
/// The agents' pods, to know which of them do not run.
static POD: ServedKind = ServedKind {
    kind: Kind::Pod,
    group: "",
    version: "v1",
    plural: "pods",
    namespaced: true,
    part: Part::Readiness,
    at_home: Some(AGENTS),
    readers: &[Reader::Controller],
};
/// Only the lease of the controllers is read and written.
static LEASE: ServedKind = unwatched(Kind::Lease, "coordination.k8s.io", "leases");
/// Only made.
static EVENT: ServedKind = unwatched(Kind::Event, "events.k8s.io", "events");

/// What the server has of a kind; `None` for one that weft makes nothing of.
pub(super) const fn resource(kind: &Kind) -> Option<&'static ServedKind> {
    Some(match kind {
        Kind::ClusterNetwork => &CLUSTER_NETWORK,
        Kind::HostSubnet => &HOST_SUBNET,
        Kind::NetNamespace => &NET_NAMESPACE,
        Kind::EgressNetworkPolicy => &EGRESS_NETWORK_POLICY,
        Kind::Node => &NODE,
        Kind::Namespace => &NAMESPACE,
        Kind::Pod => &POD,
        Kind::Lease => &LEASE,
        Kind::Event => &EVENT,
        Kind::Other(_) => return None,
    })
}

/// The kinds that a reader needs, and no more.
pub(super) fn of(reader: Reader) -> Vec<&'static ServedKind> {
    let all = Kind::ALL.iter().filter_map(resource);
    all.filter(|it| it.readers.contains(&reader)).collect()
}

impl ServedKind {
    /// As the server's messages name it: `hostsubnets.network.openshift.io`.
    pub(super) fn name(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(super) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.into(),
            version: self.version.into(),
            api_version: self.api_version(),
            kind: self.kind.to_string(),
            plural: self.plural.into(),
        }
    }
}
