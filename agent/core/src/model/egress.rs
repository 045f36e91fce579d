//! The egress firewall: what projects may send out of the cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DnsName;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Lets it out.
    Allow,
    /// Drops it.
    Deny,
}

/// Names that a rule stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamePattern {
    /// The name itself.
    Exact(DnsName),
    /// `*.NAME`: one or more whole labels before it.
    Below(DnsName),
}

impl NamePattern {
    /// The name that stands in it.
    pub const fn name(&self) -> &DnsName {
        match self {
            Self::Exact(name) | Self::Below(name) => name,
        }
    }

    /// Whether the pattern stands for a name.
    pub fn covers(&self, name: &DnsName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Below(parent) => name
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.ends_with('.')),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// Where packets go that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Addresses, no host bits set.
    Cidr(IpNet),
    /// The addresses of names.
    Name(NamePattern),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(net) => net.fmt(f),
            Self::Name(pattern) => pattern.fmt(f),
        }
    }
}

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// Its IP protocol number, as IANA assigned it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// Destination ports of one protocol, not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The protocol.
    pub protocol: Protocol,
    /// First to last.
    pub range: RangeInclusive<u16>,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        let (first, last) = (self.range.start(), self.range.end());
        if first == last {
            write!(f, "{protocol}/{first}")
        } else {
            write!(f, "{protocol}/{first}-{last}")
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRule {
    /// What it does.
    pub action: Action,
    /// With packets to where.
    pub to: Destination,
    /// Of these ports; of any protocol and port if empty.
    pub ports: Vec<Ports>,
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.action, self.to)?;
        for (index, ports) in self.ports.iter().enumerate() {
            write!(f, "{}{ports}", if index == 0 { " " } else { "," })?;
        }
        Ok(())
    }
}

/// An EgressNetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Its rules in order, or why the object is refused.
    pub rules: Result<Vec<EgressRule>, String>,
    number: u64,
}

impl EgressPolicy {
    /// A policy of a project.
    pub fn new(project: &str, rules: Vec<EgressRule>) -> Arc<Self> {
        let mut digest = Sha256::new();
        digest.update(project);
        for rule in &rules {
            digest.update(format!("\n{rule}"));
        }
        Arc::new(Self {
            number: number(digest),
            rules: Ok(rules),
        })
    }

    /// A policy that cannot be used.
    pub fn invalid(reason: String) -> Arc<Self> {
        Arc::new(Self {
            rules: Err(reason),
            number: 0,
        })
    }

    /// Stands for the project and the rules: another text of the same rules has the same number. Not 0 and not the largest
    /// for a valid policy.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The names that its rules stand for.
    pub fn names(&self) -> impl Iterator<Item = &NamePattern> {
        let rules = self.rules.as_deref().unwrap_or_default();
        rules.iter().filter_map(|rule| match &rule.to {
            Destination::Name(pattern) => Some(pattern),
            Destination::Cidr(_) => None,
        })
    }

    /// The names that its rules deny, without wildcards.
    pub fn denied_names(&self) -> impl Iterator<Item = &DnsName> {
        let rules = self.rules.as_deref().unwrap_or_default();
        rules
            .iter()
            .filter_map(|rule| match (rule.action, &rule.to) {
                (Action::Deny, Destination::Name(NamePattern::Exact(name))) => Some(name),
                _ => None,
            })
    }

    /// A family that the policy leaves open although it denies all of the other one: whoever wrote it may not know that there
    /// are two. The two prefixes: the one that is denied, the one that no rule has.
    pub fn one_sided(&self) -> Option<(IpNet, IpNet)> {
        let rules = self.rules.as_deref().unwrap_or_default();
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let has = |all: IpNet| rules.iter().any(|it| it.to == Destination::Cidr(all));
        let denies = |all: IpNet| {
            rules.iter().any(|it| {
                it.action == Action::Deny && it.ports.is_empty() && it.to == Destination::Cidr(all)
            })
        };
        let sides = [(all[0], all[1]), (all[1], all[0])];
        sides
            .into_iter()
            .find(|(denied, other)| denies(*denied) && !has(*other))
    }
}

/// The first eight bytes of a digest, without the two values that have a meaning of their own.
pub(crate) fn number(digest: Sha256) -> u64 {
    let digest = digest.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first).clamp(1, u64::MAX - 1)
}

/// What becomes of a policy in a project that is global or joined with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflicts {
    /// As OpenShift: it is ignored in a global project, and all projects of a joined network are closed.
    #[default]
    Drop,
    /// Each project is judged by its own policy.
    Enforce,
}

/// How the egress firewall works on this node, from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressSettings {
    /// What becomes of contradictions.
    pub conflicts: Conflicts,
    /// Name servers whose answers to pods count.
    pub trusted: BTreeSet<IpAddr>,
    /// Shortest TTL that counts, seconds.
    pub min_ttl: u32,
    /// How long an address stays allowed after its TTL, seconds; `None` for one TTL, at least 30 s.
    pub grace: Option<u32>,
    /// Most addresses that are learned for one project.
    pub learned_limit: u32,
}

impl Default for EgressSettings {
    fn default() -> Self {
        Self {
            conflicts: Conflicts::Drop,
            trusted: BTreeSet::new(),
            min_ttl: 1,
            grace: None,
            learned_limit: 16_384,
        }
    }
}
