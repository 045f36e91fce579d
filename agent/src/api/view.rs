//! What the answers look like. The command line reads them back, and `-o json` prints them as they are.

mod egress;
mod explain;

pub use egress::{
    EgressPolicy, EgressPolicyCounts, EgressPolicyState, EgressRule, KnownAddress, NameView,
    NameWord, Source,
};
pub use explain::{Answer, Explanation, Outcome, Way};

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Something wrong, or worth a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about: `kind/name`, `kind/namespace/name`, or a part of the node.
    pub object: String,
    /// What is wrong, what holds meanwhile and what to do.
    pub message: String,
}

impl From<weft_core::model::Problem> for Problem {
    fn from(problem: weft_core::model::Problem) -> Self {
        Self {
            object: problem.object.to_string(),
            message: problem.message,
        }
    }
}

/// `weft status`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Node name.
    pub node: String,
    /// Underlay address in use.
    pub node_ip: IpAddr,
    /// Pods can be attached, and nothing is wrong with the data path.
    pub ready: bool,
    /// Why not; empty if ready.
    pub not_ready: String,
    /// Isolation mode; empty without a valid ClusterNetwork.
    pub mode: String,
    /// This node's pod subnets.
    pub subnets: Vec<String>,
    /// Attached pods.
    pub pods: usize,
    /// Known nodes, this one included.
    pub nodes: usize,
    /// Known projects.
    pub projects: usize,
    /// Egress policies by state.
    pub egress: EgressPolicyCounts,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// What is in force and may have been meant otherwise.
    #[serde(default)]
    pub warnings: Vec<Problem>,
    /// Seconds since the source of the API objects was heard.
    pub store_stale_seconds: u64,
    /// Process of the agent.
    pub pid: u32,
    /// Version of the agent.
    pub version: String,
    /// The last full pass.
    pub last_pass: serde_json::Value,
    /// How the data path is loaded.
    pub data_path: serde_json::Value,
    /// Dropped packets since the maps were made.
    pub dropped: u64,
    /// Drop events that were not sent (the counters have them).
    pub suppressed_events: u64,
}

/// What an agent tells over TCP, for `kubectl weft status`: no names of projects or pods, since whoever reaches the address
/// can read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Node name.
    pub node: String,
    /// See [`Status::ready`].
    pub ready: bool,
    /// Why not; empty if ready.
    pub not_ready: String,
    /// Attached pods.
    pub pods: usize,
    /// Egress policies by state.
    pub egress: EgressPolicyCounts,
    /// How many things are wrong; `weft status` on the node has them.
    pub problems: usize,
    /// Stands for all objects in force: agents that follow the same have the same.
    pub objects: String,
    /// See [`Status::store_stale_seconds`].
    pub store_stale_seconds: u64,
    /// Version of the agent.
    pub version: String,
}

/// A row of `weft get pods`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// VNID of its project; none if the project is closed.
    pub vnid: Option<u32>,
    /// Host-side interface.
    pub interface: String,
    /// CNI container and interface.
    pub attachment: String,
    /// Packets it sent that were admitted.
    pub sent_packets: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Packets delivered to it.
    pub received_packets: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Packets dropped, from it or to it.
    pub dropped_packets: u64,
}

/// A row of `weft get nodes`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Name.
    pub name: String,
    /// Underlay address.
    pub ip: IpAddr,
    /// Pod subnets.
    pub subnets: Vec<String>,
    /// Whether it is this node.
    pub local: bool,
}

/// A row of `weft get projects`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// Name.
    pub name: String,
    /// VNID; 0 in subnet mode.
    pub vnid: u32,
    /// Talks to all.
    pub global: bool,
    /// Other projects of the same network.
    pub joined_with: Vec<String>,
    /// Its pods on this node.
    pub pods: usize,
}

/// `weft get drops`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drops {
    /// Of the whole node.
    pub reasons: Vec<Reason>,
    /// By pod.
    pub pods: Vec<PodDrops>,
    /// The latest events, oldest first.
    pub recent: Vec<Drop>,
}

/// Drops for one reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Name.
    pub reason: String,
    /// What it means.
    pub text: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Drops of one pod for one reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodDrops {
    /// Namespace and name; the interface index if the pod is gone.
    pub pod: String,
    /// Name of the reason.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One dropped packet: a line of `weft monitor`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drop {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Name of the reason.
    pub reason: String,
    /// What it means.
    pub text: String,
    /// Program that dropped it.
    pub hook: String,
    /// Sender.
    pub source: Party,
    /// Receiver.
    pub destination: Party,
    /// IP protocol: `TCP`, or its number.
    pub protocol: String,
    /// Bytes of the packet.
    pub bytes: u32,
    /// Interface on which the program ran, by index.
    pub ifindex: u32,
    /// Egress policy that dropped it, `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
    /// Number of its rule, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<u32>,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule_text: Option<String>,
}

/// One side of a dropped packet, as far as it is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Party {
    /// Address; none if the packet could not be parsed.
    pub ip: Option<IpAddr>,
    /// Port; 0 if the packet shows none.
    pub port: u16,
    /// Local pod, `namespace/name`.
    pub pod: Option<String>,
    /// Projects: the pod's, or all that have the VNID.
    pub projects: Vec<String>,
    /// VNID.
    pub vnid: Option<u32>,
    /// Remote node of a pod address.
    pub node: Option<String>,
}
