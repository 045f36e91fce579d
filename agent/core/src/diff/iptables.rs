//! Wanted rules x the output of `iptables-save` -> one transaction a table.

use std::collections::BTreeMap;

use crate::compile::iptables::{Jumps, Match, Rule, Ruleset, Table, TableRules, Target, words};

/// The chains of a table as `iptables-save` prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualTable {
    /// Rules of each chain in order, each as the text after `-A CHAIN `.
    pub chains: BTreeMap<String, Vec<String>>,
}

/// Reads the output of `iptables-save`, with or without counters. Other tables than ours are passed over.
pub fn parse_save(text: &str) -> BTreeMap<Table, ActualTable> {
    let mut tables = BTreeMap::new();
    let mut current: Option<&mut ActualTable> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            current = Table::ALL
                .into_iter()
                .find(|table| table.name() == name.trim())
                .map(|table| tables.entry(table).or_default());
        }
        let Some(table) = current.as_deref_mut() else {
            continue;
        };
        if let Some(chain) = line.strip_prefix(':') {
            let name = chain.split(' ').next().unwrap_or(chain);
            table.chains.entry(name.to_owned()).or_default();
        } else if let Some((_, rule)) = line.split_once("-A ") {
            // `split_once` also drops the counters of `iptables-save -c` before it.
            let (chain, spec) = rule.split_once(' ').unwrap_or((rule, ""));
            let rules = table.chains.entry(chain.to_owned()).or_default();
            rules.push(spec.to_owned());
        }
    }
    tables
}

/// What has to change in one table. Displayed, it is input for `iptables-restore --noflush`: one transaction, so that
/// no packet ever meets a half-written chain or a missing jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOps {
    /// Which table.
    pub table: Table,
    /// Chains to create, which fails when somebody else was faster: an administrator's rules are never flushed.
    pub create: Vec<String>,
    /// Chains of ours to create or empty, and fill.
    pub refill: BTreeMap<String, Vec<Rule>>,
    /// Rules to take out of built-in chains, as printed by `iptables-save`.
    pub remove: Vec<(String, String)>,
    /// Jumps to insert into built-in chains once the above is done, each at its place counted from 1, in order.
    pub insert: BTreeMap<String, Vec<(usize, Rule)>>,
}

impl TableOps {
    /// What is wrong with the table, for people.
    pub fn reasons(&self) -> Vec<String> {
        let chains = self.create.iter().chain(self.refill.keys());
        chains
            .map(|chain| format!("{}: chain {chain}", self.table))
            .chain(
                self.insert
                    .keys()
                    .map(|chain| format!("{}: jumps from {chain}", self.table)),
            )
            .collect()
    }
}

impl std::fmt::Display for TableOps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "*{}", self.table)?;
        for chain in self.refill.keys() {
            writeln!(f, ":{chain} - [0:0]")?;
        }
        for chain in &self.create {
            writeln!(f, "-N {chain}")?;
        }
        for (chain, rules) in &self.refill {
            for rule in rules {
                writeln!(f, "-A {chain} {rule}")?;
            }
        }
        for (chain, spec) in &self.remove {
            writeln!(f, "-D {chain} {spec}")?;
        }
        for (chain, rules) in &self.insert {
            for (place, rule) in rules {
                writeln!(f, "-I {chain} {place} {rule}")?;
            }
        }
        writeln!(f, "COMMIT")
    }
}

/// The transactions that turn `actual` into `wanted`; empty when nothing differs.
pub fn diff(wanted: &Ruleset, actual: &BTreeMap<Table, ActualTable>) -> Vec<TableOps> {
    let empty = ActualTable::default();
    let ops = wanted.tables.iter().filter_map(|(table, rules)| {
        diff_table(*table, rules, actual.get(table).unwrap_or(&empty))
    });
    ops.collect()
}

fn diff_table(table: Table, wanted: &TableRules, actual: &ActualTable) -> Option<TableOps> {
    let mut ops = TableOps {
        table,
        create: Vec::new(),
        refill: BTreeMap::new(),
        remove: Vec::new(),
        insert: BTreeMap::new(),
    };
    for chain in &wanted.reserved {
        if !actual.chains.contains_key(chain) {
            ops.create.push(chain.clone());
        }
    }
    for (chain, rules) in &wanted.chains {
        let same = actual
            .chains
            .get(chain)
            .is_some_and(|specs| equal(specs, rules));
        if !same {
            ops.refill.insert(chain.clone(), rules.clone());
        }
    }
    for (chain, jumps) in &wanted.jumps {
        let specs = actual.chains.get(chain).map_or(&[][..], Vec::as_slice);
        let (ours, others): (Vec<_>, Vec<_>) =
            (1..).zip(specs).partition(|(_, s)| leads_to(s, wanted));
        let places = places(jumps, others.iter().map(|(_, spec)| spec.as_str()));
        let in_place = |((at, spec), (place, rule)): (&(usize, &String), &(usize, &Rule))| {
            at == place && Rule::parse(spec).as_ref() == Some(*rule)
        };
        if ours.len() == places.len() && ours.iter().zip(&places).all(in_place) {
            continue;
        }
        let remove = ours.into_iter().map(|(_, s)| (chain.clone(), s.clone()));
        ops.remove.extend(remove);
        let insert = places
            .into_iter()
            .map(|(place, rule)| (place, rule.clone()));
        ops.insert.insert(chain.clone(), insert.collect());
    }
    let changes = !(ops.create.is_empty() && ops.refill.is_empty() && ops.insert.is_empty());
    changes.then_some(ops)
}

/// Where each of our jumps stands among the other rules of its chain, counted from 1.
fn places<'a>(jumps: &Jumps, others: impl Iterator<Item = &'a str>) -> Vec<(usize, &Rule)> {
    let proxy = (1..).zip(others).filter(|(_, spec)| of_service_proxy(spec));
    let before = proxy.last().map_or(0, |(place, _)| place);
    let first = (1..).zip(&jumps.first);
    let later = (1 + jumps.first.len() + before..).zip(&jumps.later);
    first.chain(later).collect()
}

/// The program that a rule of the filter table asks, if one does.
pub fn program_asked(actual: &BTreeMap<Table, ActualTable>) -> Option<String> {
    let chains = &actual.get(&Table::Filter)?.chains;
    let mut rules = chains
        .values()
        .flatten()
        .filter_map(|spec| Rule::parse(spec));
    rules.find_map(|rule| {
        rule.matches.into_iter().find_map(|it| match it {
            Match::Program(path) => Some(path),
            _ => None,
        })
    })
}

/// Whether a rule jumps to a chain of kube-proxy, or of what else names its chains as the components of Kubernetes do.
fn of_service_proxy(spec: &str) -> bool {
    let words = words(spec).unwrap_or_default();
    matches!(&words[..], [.., option, chain]
        if (option == "-j" || option == "-g") && chain.starts_with("KUBE-"))
}

fn equal(specs: &[String], rules: &[Rule]) -> bool {
    specs.len() == rules.len()
        && specs
            .iter()
            .zip(rules)
            .all(|(spec, rule)| Rule::parse(spec).as_ref() == Some(rule))
}

/// Whether a rule of a built-in chain jumps to a chain of ours, under whatever conditions. A rule with conditions that
/// we never write is somebody else's, but for one whose jump is all that it has.
fn leads_to(spec: &str, wanted: &TableRules) -> bool {
    Rule::parse(spec)
        .is_some_and(|rule| matches!(rule.target, Target::Jump(chain) if wanted.knows(&chain)))
}

#[cfg(test)]
mod tests;
