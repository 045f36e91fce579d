//! The node's firewall and source translation as data: chains that we own, one that belongs to the administrator, and
//! the jumps to them.
//!
//! - `chains`: what a node has
//! - `rule`: one rule as text

mod chains;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

pub use chains::rulesets;
pub use rule::{Match, Rule, Target, words};

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
    /// Around the others: after FORWARD and OUTPUT of the filter table, whatever they accepted.
    Mangle,
    /// Source translation.
    Nat,
    /// Accept and drop.
    Filter,
}

impl Table {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
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
    /// Our jumps from built-in chains.
    pub jumps: BTreeMap<String, Jumps>,
}

/// Our jumps from one built-in chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jumps {
    /// Its first rules, in order.
    pub first: Vec<Rule>,
    /// Directly after the last jump to a chain of the service proxy, so that this may refuse what it has to; after
    /// [`first`](Self::first) where it has none.
    pub later: Vec<Rule>,
}

impl Jumps {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.first.iter().chain(&self.later)
    }
}

impl TableRules {
    fn chain(&mut self, name: &str, rules: impl IntoIterator<Item = Rule>) {
        self.chains
            .insert(name.to_owned(), rules.into_iter().collect());
    }

    fn jump<const N: usize>(&mut self, from: &str, matches: [Match; N], to: &str) {
        let jumps = self.jumps.entry(from.to_owned()).or_default();
        let target = Target::Jump(to.to_owned());
        jumps.first.push(Rule::new(matches, target));
    }

    fn jump_later(&mut self, from: &str, to: &str) {
        let jumps = self.jumps.entry(from.to_owned()).or_default();
        let target = Target::Jump(to.to_owned());
        jumps.later.push(Rule::new([], target));
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
            let jumps = table.jumps.iter();
            let jumps = jumps.flat_map(|(chain, jumps)| jumps.iter().map(move |it| (chain, it)));
            let chains = table.chains.iter();
            let rules = chains.flat_map(|(chain, rules)| rules.iter().map(move |it| (chain, it)));
            for (chain, rule) in jumps.chain(rules) {
                writeln!(f, "-A {chain} {rule}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
