//! `weft explain`

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::KnownAddress;

/// What the data path would do with a pod's packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The sending pod, `namespace/name`.
    pub pod: String,
    /// Its project.
    pub project: String,
    /// VNID of the project; none if it is closed.
    pub vnid: Option<u32>,
    /// The destination as it was understood: `203.0.113.7:80/tcp`.
    pub to: String,
    /// Of all addresses together.
    pub outcome: Outcome,
    /// What there is to say beyond the addresses; empty if nothing.
    pub note: String,
    /// One for the address, or one for each known address of the name.
    pub answers: Vec<Answer>,
}

/// Whether it gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It does, as far as this node's data path goes.
    Allowed,
    /// It is dropped.
    Denied,
    /// To some addresses of the name.
    Mixed,
    /// No address of the name is known.
    Unknown,
}

/// The verdict for one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The destination.
    pub ip: IpAddr,
    /// [`Outcome::Allowed`] or [`Outcome::Denied`].
    pub outcome: Outcome,
    /// Where it goes; none if it is denied.
    pub way: Option<Way>,
    /// Name of the drop reason; none if it is allowed, or if the pod cannot send there at all.
    pub reason: Option<String>,
    /// What happens, for people.
    pub text: String,
    /// The egress policy that was asked, `namespace/name`.
    pub policy: Option<String>,
    /// Number of the rule that decided, from 1.
    pub rule: Option<u32>,
    /// The rule.
    pub rule_text: Option<String>,
    /// Names of policies that the address is known for.
    pub known: Vec<KnownAddress>,
}

/// Where a packet goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Way {
    /// Into a pod on this node.
    Pod {
        /// `namespace/name`
        pod: String,
    },
    /// To this node.
    Node,
    /// To a service address: the host's translation picks an endpoint, which is then judged as such.
    Service,
    /// Through the overlay; the receiving node admits by the VNID.
    Overlay {
        /// Name of the receiving node.
        node: String,
        /// VNID that the packet carries.
        vnid: u32,
    },
    /// Out of the cluster.
    External {
        /// Name of the node, where the address is one's own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        node: Option<String>,
    },
}
