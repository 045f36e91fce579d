//! The node's firewall and source translation as data: chains that we own, one that belongs to the administrator, and
//! the jumps to them. Chain names are those that OpenShift administrators know.

mod rule;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

pub use rule::{Match, Rule, Target, words};

use super::host::DEVICE_PREFIX;
use crate::model::{ClusterNetwork, LocalNode};

/// Which of the two programs: `iptables` or `ip6tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Prefix of the program names.
    pub const fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    const fn has(self, network: &IpNet) -> bool {
        matches!(
            (self, network),
            (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_))
        )
    }
}

/// A table that we have rules in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Before connection tracking.
    Raw,
    /// Source translation.
    Nat,
    /// Accept and drop.
    Filter,
}

impl Table {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Nat, Self::Filter];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Nat => "nat",
            Self::Filter => "filter",
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything of ours in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// Of which program.
    pub family: Family,
    /// By table.
    pub tables: BTreeMap<Table, TableRules>,
}

/// Everything of ours in one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRules {
    /// Our chains with all their rules.
    pub chains: BTreeMap<String, Vec<Rule>>,
    /// Chains that must exist and whose content is somebody else's.
    pub reserved: BTreeSet<String>,
    /// The first rules of built-in chains, in order.
    pub jumps: BTreeMap<String, Vec<Rule>>,
}

const ALLOW: &str = "OPENSHIFT-FIREWALL-ALLOW";
const FORWARD: &str = "OPENSHIFT-FIREWALL-FORWARD";
const ADMIN: &str = "OPENSHIFT-ADMIN-OUTPUT-RULES";
const MASQUERADE: &str = "OPENSHIFT-MASQUERADE";
const MASQUERADE_2: &str = "OPENSHIFT-MASQUERADE-2";
const NOTRACK: &str = "OPENSHIFT-NOTRACK";

/// kube-proxy's convention of the system we replace: such a packet is translated by the service proxy already.
const MASQUERADE_MARK: Match = Match::Mark {
    value: 0x1,
    mask: 0x1,
};

/// The rules of a node: one set for each family that has a pod network or carries the overlay.
///
/// OPENSHIFT-BLOCK-OUTPUT is left out: forwarded pod traffic never reached it there, since FIREWALL-FORWARD accepts
/// first, and the ports that it guards belong to OpenShift's own machine configuration.
pub fn rulesets(network: &ClusterNetwork, node: &LocalNode) -> Vec<Ruleset> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| {
            let networks: Vec<IpNet> = network
                .networks
                .iter()
                .map(|entry| entry.cidr)
                .filter(|cidr| family.has(cidr))
                .collect();
            let underlay = family
                .has(&IpNet::from(node.ip))
                .then_some(network.vxlan_port);
            (underlay.is_some() || !networks.is_empty()).then(|| Ruleset {
                family,
                tables: BTreeMap::from([
                    (Table::Raw, raw(underlay)),
                    (Table::Nat, nat(&networks)),
                    (Table::Filter, filter(&networks, underlay)),
                ]),
            })
        })
        .collect()
}

/// Tracking the outer packets would cost a lookup and an entry a flow, and says nothing.
fn raw(vxlan_port: Option<u16>) -> TableRules {
    let mut table = TableRules::default();
    let rules = vxlan_port.map(|port| Rule::new([Match::UdpPort(port)], Target::NoTrack));
    table.chain(NOTRACK, rules);
    table.jump("OUTPUT", [], NOTRACK);
    table.jump("PREROUTING", [], NOTRACK);
    table
}

fn nat(networks: &[IpNet]) -> TableRules {
    let mut table = TableRules::default();
    // Rules of egress IPs go before all of these.
    let sources = networks
        .iter()
        .map(|n| Rule::new([Match::Source(*n)], Target::Jump(MASQUERADE_2.into())));
    table.chain(
        MASQUERADE,
        std::iter::once(Rule::new([MASQUERADE_MARK], Target::Return)).chain(sources),
    );
    let inside = networks
        .iter()
        .map(|n| Rule::new([Match::Destination(*n)], Target::Return));
    table.chain(
        MASQUERADE_2,
        inside.chain([Rule::new([], Target::Masquerade)]),
    );
    table.jump("POSTROUTING", [], MASQUERADE);
    table
}

fn filter(networks: &[IpNet], vxlan_port: Option<u16>) -> TableRules {
    let mut table = TableRules::default();
    let ours = format!("{DEVICE_PREFIX}+");
    let overlay = vxlan_port.map(|port| Rule::new([Match::UdpPort(port)], Target::Accept));
    let from_pods = Rule::new([Match::In(ours.clone())], Target::Accept);
    table.chain(ALLOW, overlay.into_iter().chain([from_pods]));
    table.jump("INPUT", [], ALLOW);

    let forward = networks.iter().flat_map(|n| {
        [
            // A late retransmission of a closed connection would leave with the pod's own address, untranslated.
            Rule::new([Match::Source(*n), Match::Invalid], Target::Drop),
            Rule::new([Match::Destination(*n)], Target::Accept),
            Rule::new([Match::Source(*n)], Target::Accept),
        ]
    });
    table.chain(FORWARD, forward);
    table.reserved.insert(ADMIN.into());
    // The administrators' chain first: FIREWALL-FORWARD accepts whatever reaches it.
    table.jump(
        "FORWARD",
        [Match::In(ours.clone()), Match::NotOut(ours)],
        ADMIN,
    );
    table.jump("FORWARD", [], FORWARD);
    table
}

impl TableRules {
    fn chain(&mut self, name: &str, rules: impl IntoIterator<Item = Rule>) {
        self.chains
            .insert(name.to_owned(), rules.into_iter().collect());
    }

    fn jump<const N: usize>(&mut self, from: &str, matches: [Match; N], to: &str) {
        self.jumps
            .entry(from.to_owned())
            .or_default()
            .push(Rule::new(matches, Target::Jump(to.to_owned())));
    }

    /// Whether the chain is ours or reserved by us.
    pub fn knows(&self, chain: &str) -> bool {
        self.chains.contains_key(chain) || self.reserved.contains(chain)
    }
}

/// What `iptables-save` would print of it, without counters.
impl std::fmt::Display for Ruleset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, table) in &self.tables {
            writeln!(f, "*{name}")?;
            for chain in table.chains.keys().chain(&table.reserved) {
                writeln!(f, ":{chain} -")?;
            }
            for (chain, rules) in table.jumps.iter().chain(&table.chains) {
                for rule in rules {
                    writeln!(f, "-A {chain} {rule}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
