//! Pods attached to this node.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Kind, ObjectRef};

/// What CNI calls an attachment: a container (sandbox) and an interface in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointId {
    /// CNI_CONTAINERID
    pub container: String,
    /// CNI_IFNAME
    pub ifname: String,
}

impl std::fmt::Display for EndpointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.container, self.ifname)
    }
}

/// A pod's interface in the data path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The attachment.
    pub id: EndpointId,
    /// The pod's namespace: its project.
    pub project: String,
    /// The pod's name.
    pub pod: String,
    /// Addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// MAC address of the interface in the pod.
    pub mac: [u8; 6],
    /// Host-side veth.
    pub host_ifname: String,
    /// Its index.
    pub host_ifindex: u32,
}

impl Endpoint {
    /// The pod.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::namespaced(Kind::Pod, &self.project, &self.pod)
    }
}
