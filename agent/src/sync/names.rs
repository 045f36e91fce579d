//! Which addresses are in force for the names of policies.
//!
//! Three sources: the resolver, for names that stand in rules; its answers to single questions, for names that only a wildcard
//! covers; and the rows of the previous run, which hold until the resolver has its own answer. Pure but for the clock that
//! callers bring.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use weft_core::compile::Tables;
use weft_core::compile::egress::name_number;
use weft_core::model::{Change, DnsName, NamePattern, World};
use weft_core::names::{Limits, NameState, Resolution};

/// Addresses of single answers kept for one wildcard.
const MOST_FOR_WILDCARD: usize = 4096;

/// Addresses by name, with where they come from.
#[derive(Debug)]
pub struct Names {
    /// What the resolver last said.
    resolved: BTreeMap<DnsName, BTreeSet<IpAddr>>,
    /// Addresses beside those, and when they end; `None`: when the resolver has an answer of its own.
    beside: BTreeMap<NamePattern, BTreeMap<IpAddr, Option<Instant>>>,
    /// What the resolver was last told to watch.
    watched: BTreeSet<DnsName>,
    limits: Limits,
}

impl Names {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            resolved: BTreeMap::new(),
            beside: BTreeMap::new(),
            watched: BTreeSet::new(),
            limits,
        }
    }

    /// Takes over the addresses that the kernel still holds from the previous run: a restart while name servers are away takes
    /// nothing from the pods.
    pub(super) fn adopt(&mut self, kernel: &Tables, world: &World, now: Instant) -> Vec<Change> {
        let patterns: BTreeMap<u64, &NamePattern> = world
            .names()
            .map(|pattern| (name_number(pattern), pattern))
            .collect();
        let mut adopted = BTreeSet::new();
        for (key, row) in &kernel.resolved {
            if let Some(pattern) = patterns.get(&row.name) {
                let beside = self.beside.entry((*pattern).clone()).or_default();
                // Nobody asks for the names below a wildcard again, so theirs must end by themselves.
                let end = match pattern {
                    NamePattern::Exact(_) => None,
                    NamePattern::Below(_) => Some(now + self.limits.max_ttl),
                };
                beside.entry(key.value.to_ip()).or_insert(end);
                adopted.insert((*pattern).clone());
            }
        }
        adopted.into_iter().map(|it| self.change(it)).collect()
    }

    /// A watched name's addresses, as the resolver has them.
    pub(super) fn changed(
        &mut self,
        name: DnsName,
        to: &Resolution,
        now: Instant,
    ) -> Option<Change> {
        if !self.watched.contains(&name) {
            return None;
        }
        let pattern = NamePattern::Exact(name.clone());
        if let NameState::Resolved { ttl, .. } = to.state
            && let Some(beside) = self.beside.get_mut(&pattern)
        {
            let end = now + self.limits.grace(ttl, ttl);
            for until in beside.values_mut() {
                until.get_or_insert(end);
            }
        }
        self.resolved
            .insert(name, to.addresses.keys().copied().collect());
        Some(self.change(pattern))
    }

    /// The answer to a single question: it counts for every wildcard over the name.
    pub(super) fn once(
        &mut self,
        name: &DnsName,
        addresses: &[IpAddr],
        ttl: Duration,
        world: &World,
        now: Instant,
    ) -> Vec<Change> {
        let end = now + ttl + self.limits.grace(ttl, ttl);
        let patterns = name.parents().map(NamePattern::Below);
        let used = patterns.filter(|pattern| world.is_named(pattern));
        let used: Vec<_> = used.collect();
        for pattern in &used {
            let beside = self.beside.entry(pattern.clone()).or_default();
            for address in addresses {
                if beside.len() < MOST_FOR_WILDCARD || beside.contains_key(address) {
                    let until = beside.entry(*address).or_insert(Some(end));
                    *until = Some(until.map_or(end, |old| old.max(end)));
                }
            }
        }
        // Pods can cause these questions: an answer that says nothing new costs nothing.
        used.into_iter()
            .map(|pattern| self.change(pattern))
            .filter(|change| is_news(change, world))
            .collect()
    }

    /// Brings all names in line with the policies of projects that have pods here. What the resolver shall watch, if that
    /// changed, and the names that nobody uses any more.
    pub(super) fn follow(&mut self, world: &World) -> (Option<BTreeSet<DnsName>>, Vec<Change>) {
        let known = self.beside.keys().chain(world.resolved.keys());
        let known = known.chain(world.watched_names()).map(NamePattern::name);
        let known = known.chain(&self.watched).chain(self.resolved.keys());
        let all: BTreeSet<DnsName> = known.cloned().collect();
        self.follow_some(world, &all)
    }

    /// The same for some names, when no others can have changed.
    pub(super) fn follow_some(
        &mut self,
        world: &World,
        names: &BTreeSet<DnsName>,
    ) -> (Option<BTreeSet<DnsName>>, Vec<Change>) {
        let mut gone = Vec::new();
        let mut changed = false;
        for name in names {
            let exact = NamePattern::Exact(name.clone());
            if world.is_watched(&exact) {
                changed |= self.watched.insert(name.clone());
            } else {
                changed |= self.watched.remove(name);
                self.resolved.remove(name);
            }
            for pattern in [exact, NamePattern::Below(name.clone())] {
                if world.is_watched(&pattern) {
                    continue;
                }
                self.beside.remove(&pattern);
                if world.resolved.contains_key(&pattern) {
                    gone.push(Change::Resolved(pattern, BTreeSet::new()));
                }
            }
        }
        (changed.then(|| self.watched.clone()), gone)
    }

    /// The names that are watched and that the resolver has told nothing about.
    pub(super) fn unheard(&self) -> BTreeSet<DnsName> {
        let unheard = self.watched.iter();
        let unheard = unheard.filter(|name| !self.resolved.contains_key(*name));
        unheard.cloned().collect()
    }

    /// Takes away what has ended.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Change> {
        let mut shorter = Vec::new();
        for (pattern, beside) in &mut self.beside {
            let before = beside.len();
            beside.retain(|_, until| until.is_none_or(|end| end > now));
            if beside.len() != before {
                shorter.push(pattern.clone());
            }
        }
        self.beside.retain(|_, beside| !beside.is_empty());
        shorter.into_iter().map(|it| self.change(it)).collect()
    }

    /// When the next address ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.beside
            .values()
            .flat_map(BTreeMap::values)
            .flatten()
            .min()
            .copied()
    }

    fn change(&self, pattern: NamePattern) -> Change {
        let mut addresses = match &pattern {
            NamePattern::Exact(name) => self.resolved.get(name).cloned().unwrap_or_default(),
            NamePattern::Below(_) => BTreeSet::new(),
        };
        let beside = self.beside.get(&pattern).into_iter().flatten();
        addresses.extend(beside.map(|(address, _)| *address));
        Change::Resolved(pattern, addresses)
    }
}

fn is_news(change: &Change, world: &World) -> bool {
    let Change::Resolved(pattern, addresses) = change else {
        return true;
    };
    world.resolved.get(pattern).unwrap_or(&BTreeSet::new()) != addresses
}

#[cfg(test)]
mod tests;
