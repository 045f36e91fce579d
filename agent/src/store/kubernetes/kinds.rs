//! The kinds of object that are read and written, and how much of each is kept.

use kube::core::ApiResource;

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

/// A kind of object.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    version: &'static str,
    pub(super) plural: &'static str,
    pub(super) namespaced: bool,
    pub(super) part: Part,
    /// Only those with these labels in the namespace that weft runs in.
    pub(super) at_home: Option<&'static str>,
}

/// Labels of the agents' pods.
pub(super) const AGENTS: &str = "app.kubernetes.io/name=weft,app.kubernetes.io/component=agent";

const OURS: &str = "network.openshift.io";

const fn ours(name: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind {
        name,
        group: OURS,
        version: "v1",
        plural,
        namespaced,
        part: Part::Whole,
        at_home: None,
    }
}

const fn core(name: &'static str, plural: &'static str, part: Part) -> Kind {
    Kind {
        name,
        group: "",
        version: "v1",
        plural,
        namespaced: false,
        part,
        at_home: None,
    }
}

static CLUSTER_NETWORK: Kind = ours("ClusterNetwork", "clusternetworks", false);
static HOST_SUBNET: Kind = ours("HostSubnet", "hostsubnets", false);
static NET_NAMESPACE: Kind = ours("NetNamespace", "netnamespaces", false);
static EGRESS_NETWORK_POLICY: Kind = ours("EgressNetworkPolicy", "egressnetworkpolicies", true);
static NODE: Kind = core("Node", "nodes", Part::Addresses);
static NAMESPACE: Kind = core("Namespace", "namespaces", Part::Metadata);
/// The agents' pods, to know which of them do not run.
static POD: Kind = Kind {
    namespaced: true,
    at_home: Some(AGENTS),
    ..core("Pod", "pods", Part::Readiness)
};
/// Never watched: only the lease of the controllers is read and written.
static LEASE: Kind = Kind {
    name: "Lease",
    group: "coordination.k8s.io",
    version: "v1",
    plural: "leases",
    namespaced: true,
    part: Part::Whole,
    at_home: None,
};

/// Never watched, and only made.
static EVENT: Kind = Kind {
    name: "Event",
    group: "events.k8s.io",
    version: "v1",
    plural: "events",
    namespaced: true,
    part: Part::Whole,
    at_home: None,
};

static ALL: [&Kind; 9] = [
    &CLUSTER_NETWORK,
    &HOST_SUBNET,
    &NET_NAMESPACE,
    &EGRESS_NETWORK_POLICY,
    &NODE,
    &NAMESPACE,
    &POD,
    &LEASE,
    &EVENT,
];

/// The kinds that a reader needs, and no more.
pub(super) fn of(reader: Reader) -> &'static [&'static Kind] {
    static AGENT: [&Kind; 4] = [
        &CLUSTER_NETWORK,
        &HOST_SUBNET,
        &NET_NAMESPACE,
        &EGRESS_NETWORK_POLICY,
    ];
    static CONTROLLER: [&Kind; 7] = [
        &CLUSTER_NETWORK,
        &HOST_SUBNET,
        &NET_NAMESPACE,
        &EGRESS_NETWORK_POLICY,
        &NODE,
        &NAMESPACE,
        &POD,
    ];
    static POD_NETWORK: [&Kind; 3] = [&CLUSTER_NETWORK, &NET_NAMESPACE, &NAMESPACE];
    match reader {
        Reader::Agent => &AGENT,
        Reader::Controller => &CONTROLLER,
        Reader::PodNetwork => &POD_NETWORK,
    }
}

/// A kind by its name.
pub(super) fn named(name: &str) -> Option<&'static Kind> {
    ALL.into_iter().find(|it| it.name == name)
}

impl Kind {
    /// As the server's messages name it: `hostsubnets.network.openshift.io`.
    pub(super) fn resource(&self) -> String {
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
            kind: self.name.into(),
            plural: self.plural.into(),
        }
    }
}
