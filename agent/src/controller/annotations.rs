//! Annotations between operators, the admin commands and the controller.
//!
//! # change-network
//! To move a project to another network, set [`CHANGE_NETWORK`] on its NetNamespace to `global`, `isolate` or
//! `join:PROJECT`, and [`REQUEST_ID`] to anything if you want to recognise the answer. The controller removes both in the
//! same update that carries the change out and sets [`RESULT`], an [`Outcome`] as JSON; a refused request is removed too
//! and changes nothing else.

use serde::{Deserialize, Serialize};

use crate::store::Object;

/// A request to change a project's network.
pub const CHANGE_NETWORK: &str = "pod.network.openshift.io/multitenant.change-network";
/// Names the request, so that whoever made it knows its answer.
pub const REQUEST_ID: &str = "pod.network.openshift.io/multitenant.change-network-id";
/// The answer to the latest request.
pub const RESULT: &str = "pod.network.openshift.io/multitenant.change-network-result";
/// On a HostSubnet: the Node it was made for (UID, or the name of a Node without one). Its end is the HostSubnet's.
pub const NODE_UID: &str = "pod.network.openshift.io/node-uid";
/// On a HostSubnet without a Node: the controller is to assign a subnet.
pub const ASSIGN_SUBNET: &str = "pod.network.openshift.io/assign-subnet";
/// On a NetNamespace: the Namespace it was made for (UID, or the name of a Namespace without one).
pub const NAMESPACE_UID: &str = "pod.network.openshift.io/namespace-uid";

/// What became of a change-network request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The request as it was made.
    pub request: String,
    /// [`REQUEST_ID`] as it came with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it was carried out.
    pub outcome: Verdict,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// VNID before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// VNID after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
}

/// Whether a request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The project is in its new network.
    Applied,
    /// Nothing was changed.
    Refused,
}

impl Outcome {
    /// The answer that stands on a NetNamespace.
    pub fn of(object: &Object) -> Option<Self> {
        serde_json::from_str(object.annotation(RESULT)?).ok()
    }

    /// Puts the answer in the place of the request.
    pub(super) fn write(&self, object: &mut Object) {
        object.set_annotation(CHANGE_NETWORK, None);
        object.set_annotation(REQUEST_ID, None);
        object.set_annotation(RESULT, serde_json::to_string(self).ok().as_deref());
    }
}
