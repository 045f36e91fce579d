//! The egress firewall as administrators see it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A row of `weft get egress-policies`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressPolicy {
    /// Namespace: the project whose pods it governs.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What becomes of it on this node.
    pub state: EgressPolicyState,
    /// Why it is not enforced, and what to do; empty if it is.
    pub reason: String,
    /// What its author may have overlooked. It is in force all the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub warning: Option<String>,
    /// Its rules in order. Of a refused policy those of the version before, which are in force.
    pub rules: Vec<EgressRule>,
}

/// What becomes of an egress policy on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EgressPolicyState {
    /// The data path holds it.
    Enforced,
    /// It does not count: what the project's pods send is allowed.
    Ignored,
    /// It cannot be used: nothing of the project leaves the cluster.
    Closed,
    /// This version does not fit the data path: what was in force before stays.
    Refused,
    /// It is valid, and no pod of the project is on this node.
    NotLocal,
    /// It is valid, and the data path does not hold it yet.
    Pending,
}

impl EgressPolicyState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Enforced,
        Self::Ignored,
        Self::Closed,
        Self::Refused,
        Self::NotLocal,
        Self::Pending,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforced => "Enforced",
            Self::Ignored => "Ignored",
            Self::Closed => "Closed",
            Self::Refused => "Refused",
            Self::NotLocal => "NotLocal",
            Self::Pending => "Pending",
        }
    }
}

/// Egress policies by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressPolicyCounts {
    /// See [`EgressPolicyState::Enforced`]; so for the others.
    pub enforced: usize,
    #[expect(missing_docs, reason = "named after the state")]
    pub ignored: usize,
    #[expect(missing_docs, reason = "named after the state")]
    pub closed: usize,
    #[expect(missing_docs, reason = "named after the state")]
    pub refused: usize,
    #[expect(missing_docs, reason = "named after the state")]
    pub not_local: usize,
    #[expect(missing_docs, reason = "named after the state")]
    pub pending: usize,
}

impl EgressPolicyCounts {
    /// Counts one more.
    pub fn add(&mut self, state: EgressPolicyState) {
        *self.slot(state) += 1;
    }

    /// How many are in a state.
    pub fn of(mut self, state: EgressPolicyState) -> usize {
        *self.slot(state)
    }

    fn slot(&mut self, state: EgressPolicyState) -> &mut usize {
        match state {
            EgressPolicyState::Enforced => &mut self.enforced,
            EgressPolicyState::Ignored => &mut self.ignored,
            EgressPolicyState::Closed => &mut self.closed,
            EgressPolicyState::Refused => &mut self.refused,
            EgressPolicyState::NotLocal => &mut self.not_local,
            EgressPolicyState::Pending => &mut self.pending,
        }
    }
}

/// A rule, and what it met on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    /// Its place, from 1.
    pub number: usize,
    /// The rule: `Deny 0.0.0.0/0`, `Allow www.example.com TCP/443`.
    pub text: String,
    /// Packets for which it decided.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When the last one came, nanoseconds since 1970.
    pub last_hit: Option<u64>,
    /// Of a rule by name, the addresses for which it counts now; empty while the name is not resolved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub addresses: Option<Vec<KnownAddress>>,
    /// Of a rule by one name, how the agent's resolver fares with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<NameView>,
}

/// A name that the agent's resolver watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameView {
    /// How it stands.
    pub state: NameWord,
    /// TTL of the latest answer that counts, seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ttl: Option<u64>,
    /// When it is asked again, seconds from now.
    pub next: u64,
    /// What went wrong last; empty if nothing.
    pub error: String,
}

/// How a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameWord {
    /// The last lookup brought addresses.
    Resolved,
    /// The last lookup failed: the addresses of the one before are kept.
    Stale,
    /// No lookup has brought an address yet.
    Unresolved,
}

/// An address of a name, and how the node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownAddress {
    /// The address.
    pub ip: IpAddr,
    /// The name as the policy writes it.
    pub name: String,
    /// Who found out.
    pub source: Source,
    /// The pod whose answer told, `namespace/name`, unless it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<String>,
    /// Seconds for which new connections may use it yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds_left: Option<u64>,
}

/// Who found an address of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The agent asked.
    Resolver,
    /// A pod asked, and the data path read the answer.
    Answer,
}
