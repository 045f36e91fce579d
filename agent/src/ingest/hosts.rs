//! HostSubnets that contradict each other: one underlay address or one pod address for two nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use weft_core::model::HostSubnet;

use super::fields::Valid;

/// HostSubnets by node name.
pub(super) type Hosts = BTreeMap<String, HostSubnet>;

/// What takes force, and who was refused in favour of whom and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) hosts: Hosts,
    pub(super) refused: BTreeMap<String, String>,
}

/// Who keeps what is contested: an unchanged incumbent, then a changed one, then a newcomer; then the first by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unchanged,
    Changed,
    New,
}

/// Takes all wanted HostSubnets, less those that contradict another one; a refused incumbent keeps what it has.
///
/// Everything is looked at together, so that two nodes may swap addresses in whatever order their objects come.
pub(super) fn settle(in_force: &Hosts, wanted: Hosts) -> Settled {
    let rank = |name: &String, host: &HostSubnet| match in_force.get(name) {
        Some(old) if old == host => Rank::Unchanged,
        Some(_) => Rank::Changed,
        None => Rank::New,
    };
    let mut pool: BTreeMap<String, (Rank, HostSubnet)> = wanted
        .into_iter()
        .map(|(name, host)| (name.clone(), (rank(&name, &host), host)))
        .collect();
    let mut refused = BTreeMap::new();
    while let Some(conflict) = first_conflict(&pool) {
        let Conflict { loser, reason, .. } = conflict;
        let was = pool.remove(&loser);
        if let (Some((Rank::Changed, _)), Some(old)) = (was, in_force.get(&loser)) {
            pool.insert(loser.clone(), (Rank::Unchanged, old.clone()));
        }
        refused.insert(loser, reason);
    }
    let hosts = pool.into_iter().map(|(name, (_, host))| (name, host));
    Settled {
        hosts: hosts.collect(),
        refused,
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Conflict {
    winner_rank: Rank,
    winner: String,
    loser: String,
    reason: String,
}

/// The conflict to be decided first: that of the strongest winner, whose right nobody else can dispute.
fn first_conflict(pool: &BTreeMap<String, (Rank, HostSubnet)>) -> Option<Conflict> {
    let mut claims: Vec<(u128, u128, &String)> = Vec::new();
    let mut by_ip: BTreeMap<IpAddr, Vec<&String>> = BTreeMap::new();
    for (name, (_, host)) in pool {
        by_ip.entry(host.ip).or_default().push(name);
        claims.extend(host.subnets.iter().map(|subnet| {
            let (first, last) = span(subnet);
            (first, last, name)
        }));
    }
    claims.sort();
    let mut pairs: Vec<(&String, &String)> = Vec::new();
    for names in by_ip.values() {
        let best = names
            .iter()
            .min_by_key(|name| (rank_in(pool, name), **name));
        if let Some(best) = best {
            let others = names.iter().filter(|name| *name != best);
            pairs.extend(others.map(|other| (*best, *other)));
        }
    }
    let mut widest: Option<(u128, &String)> = None;
    for (first, last, name) in claims {
        if let Some((end, holder)) = widest
            && first <= end
            && holder != name
        {
            pairs.push((holder, name));
        }
        if widest.is_none_or(|(end, _)| last > end) {
            widest = Some((last, name));
        }
    }
    let decided = pairs.into_iter().filter_map(|(a, b)| decide(pool, a, b));
    decided.min()
}

fn decide(pool: &BTreeMap<String, (Rank, HostSubnet)>, a: &String, b: &String) -> Option<Conflict> {
    let strongest_first = (rank_in(pool, a), a) <= (rank_in(pool, b), b);
    let (winner, loser) = if strongest_first { (a, b) } else { (b, a) };
    let ((rank, kept), (_, lost)) = (pool.get(winner)?, pool.get(loser)?);
    let reason = if kept.ip == lost.ip {
        format!("hostIP: {} is that of HostSubnet/{winner}", lost.ip)
    } else {
        let all = lost.subnets.iter();
        let mut pairs = all.flat_map(|l| kept.subnets.iter().map(move |k| (l, k)));
        let (l, k) = pairs.find(|(l, k)| super::fields::overlap(l, k))?;
        format!("subnet: {l} overlaps {k} of HostSubnet/{winner}")
    };
    Some(Conflict {
        winner_rank: *rank,
        winner: winner.clone(),
        loser: loser.clone(),
        reason,
    })
}

fn rank_in(pool: &BTreeMap<String, (Rank, HostSubnet)>, name: &String) -> Option<Rank> {
    pool.get(name).map(|(rank, _)| *rank)
}

/// First and last address; IPv4 in its mapped form, so that the families lie apart.
fn span(subnet: &IpNet) -> (u128, u128) {
    let number = |address: IpAddr| match address {
        IpAddr::V4(a) => u128::from(a.to_ipv6_mapped()),
        IpAddr::V6(a) => u128::from(a),
    };
    (number(subnet.network()), number(subnet.broadcast()))
}

/// Which addresses hosts that do not contradict each other hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    underlay: BTreeSet<IpAddr>,
    /// First address of each subnet -> its last.
    subnets: BTreeMap<u128, u128>,
}

impl Claims {
    /// All of them.
    pub(super) fn of(hosts: &Hosts) -> Self {
        let mut claims = Self::default();
        for host in hosts.values() {
            claims.underlay.insert(host.ip);
            claims.subnets.extend(host.subnets.iter().map(span));
        }
        claims
    }

    /// Gives some hosts what they hold from now on in the place of what they hold in `hosts`; false if something of it is held
    /// already. Then these are no claims of anybody any more.
    pub(super) fn replace(
        &mut self,
        hosts: &Hosts,
        wanted: &[(&String, Option<&Valid<HostSubnet>>)],
    ) -> bool {
        for old in wanted.iter().filter_map(|(name, _)| hosts.get(*name)) {
            self.underlay.remove(&old.ip);
            for subnet in &old.subnets {
                self.subnets.remove(&span(subnet).0);
            }
        }
        let mut new = wanted.iter().filter_map(|(_, new)| *new);
        new.all(|Valid { value, .. }| {
            let mut subnets = value.subnets.iter().map(span);
            self.underlay.insert(value.ip)
                && subnets.all(|(first, last)| {
                    // Those that are held do not overlap, so the last that begins before the end is the only one to ask.
                    let before = self.subnets.range(..=last).next_back();
                    let free = before.is_none_or(|(_, end)| *end < first);
                    self.subnets.insert(first, last);
                    free
                })
        })
    }
}
