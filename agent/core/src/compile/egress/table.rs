//! The rows of one policy.

use std::collections::BTreeSet;

use ipnet::IpNet;
use weft_ebpf::rows::TABLE_CAPACITY;
use weft_ebpf::rows::egress::{
    ANY_PORT, PORTS_CAPACITY, RULES_CAPACITY, RuleKey, RuleRow, SEARCH_LENS, SearchKey, action,
    project_flag,
};

use super::EgressPolicyTable;
use super::names::{name_number, wildcards};
use super::ports::{Classes, classes};
use super::prefixes::{Family, Prefixes};
use crate::model::{Action, Destination, EgressPolicy, EgressRule, NamePattern};

/// A policy is too large for the data path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too many prefix lengths.
    #[error(
        "its rules have {lengths} different IPv{family} prefix lengths, and {max} are possible: merge some",
        max = SEARCH_LENS - 1
    )]
    Lengths {
        /// 4 or 6.
        family: u32,
        /// How many there are.
        lengths: usize,
    },
    /// Too many ports.
    #[error(
        "its rules name ports that overlap in too many ways: use fewer ports, or the same in several rules"
    )]
    Ports,
    /// Too many rows.
    #[error(
        "its rules need {rows} rows of the data path, and {RULES_CAPACITY} are possible: use fewer ports or CIDRs"
    )]
    Rows {
        /// How many there are.
        rows: usize,
    },
}

impl EgressPolicyTable {
    /// Compiles a policy; one without valid rules gives a table that allows everything, which nothing may point at.
    pub(super) fn compile(policy: &EgressPolicy) -> Result<Self, Unfit> {
        let rules = policy.rules.as_deref().unwrap_or_default();
        let number = policy.number();
        let Classes { ports, members } = classes(number, rules)?;
        let mut table = Self {
            ports,
            ..Self::default()
        };
        let portless = (0..rules.len()).filter(|rank| rules[*rank].ports.is_empty());
        table.class(number, ANY_PORT, rules, portless.collect())?;
        for (class, ranks) in members {
            table.class(number, class, rules, ranks)?;
        }
        for pattern in policy.names().collect::<BTreeSet<_>>() {
            table.name(number, pattern);
        }
        table.fits()?;
        Ok(table)
    }

    /// Gives a name the first rule of each class for what it stands for: its own, or that of a wildcard around it. So a
    /// name by itself tells whether it is allowed, when it is not known any more which others its address has.
    fn name(&mut self, number: u64, pattern: &NamePattern) {
        let around: Vec<u64> = wildcards(pattern).map(|it| name_number(&it)).collect();
        let own = name_number(pattern);
        for class in self.classes().collect::<Vec<_>>() {
            let row = |name| self.rules.get(&RuleKey::name(number, class, name));
            let rows = around.iter().copied().chain([own]).filter_map(row);
            let first = rows.min_by_key(|row| row.rank).copied();
            // Whoever learns an address asks for the rule without ports, whether the policy names it.
            let none = (class == ANY_PORT).then_some(RuleRow::NONE);
            if let Some(row) = first.or(none) {
                self.rules.insert(RuleKey::name(number, class, own), row);
            }
        }
    }

    fn fits(&self) -> Result<(), Unfit> {
        if self.ports.len() > PORTS_CAPACITY as usize
            || self.searches.len() > TABLE_CAPACITY as usize
        {
            return Err(Unfit::Ports);
        }
        match self.rules.len() {
            rows if rows > RULES_CAPACITY as usize => Err(Unfit::Rows { rows }),
            _ => Ok(()),
        }
    }

    /// The rows of the rules that concern one port class.
    fn class(
        &mut self,
        number: u64,
        class: u32,
        rules: &[EgressRule],
        ranks: BTreeSet<usize>,
    ) -> Result<(), Unfit> {
        let mut prefixes = [Prefixes::new(Family::V4), Prefixes::new(Family::V6)];
        for rank in ranks {
            let rule = &rules[rank];
            match &rule.to {
                Destination::Cidr(net @ IpNet::V4(_)) => {
                    prefixes[0].add(net, row(rank, rule, None));
                }
                Destination::Cidr(net @ IpNet::V6(_)) => {
                    prefixes[1].add(net, row(rank, rule, None));
                }
                Destination::Name(pattern) => {
                    let key = RuleKey::name(number, class, name_number(pattern));
                    let row = row(rank, rule, Some(pattern));
                    self.rules.entry(key).or_insert(row);
                }
            }
        }
        for prefixes in prefixes {
            let family = prefixes.family();
            let search = prefixes.rows(number, class, &mut self.rules)?;
            let key = SearchKey {
                policy: number,
                class,
                family,
            };
            self.searches.insert(key, search);
        }
        self.fits()
    }

    /// Bits of the project's flags.
    pub fn flags(&self) -> u32 {
        let names = |key: &RuleKey| key.kind == weft_ebpf::rows::egress::rule_kind::NAME;
        let mut flags = 0;
        if !self.ports.is_empty() {
            flags |= project_flag::PORTS;
        }
        if self.rules.keys().any(names) {
            flags |= project_flag::NAMES;
        }
        flags
    }

    /// Classes of its rules, the one without ports first.
    pub fn classes(&self) -> impl Iterator<Item = u32> {
        self.searches
            .keys()
            .filter(|key| key.family == 4)
            .map(|key| key.class)
    }
}

fn row(rank: usize, rule: &EgressRule, name: Option<&NamePattern>) -> RuleRow {
    RuleRow {
        name: name.map_or(0, name_number),
        rank: u32::try_from(rank).unwrap_or(u32::MAX - 1), // a policy has fewer rules than rows
        action: match rule.action {
            Action::Allow => action::ALLOW,
            Action::Deny => action::DENY,
        },
    }
}
