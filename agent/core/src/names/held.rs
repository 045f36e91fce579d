//! The addresses in force for one name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::answer::{Answer, Family};
use super::resolution::Until;

/// The most addresses of one name that are kept beyond the latest answer. A server that answers with ever new
/// addresses must not fill the memory; those that would end first go first.
const GRACED_MAX: usize = 4096;

/// Addresses, sorted. A vector: most names have one or two, and there may be ten thousand names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held(Vec<(IpAddr, Until)>);

impl Held {
    /// Takes an answer in. A family that was not answered keeps what it has; an address that is missing in an
    /// answer stays until `grace_end`. Tells whether anything changed.
    pub(super) fn take(&mut self, answer: &Answer, grace_end: Instant, now: Instant) -> bool {
        let mut new = BTreeMap::new();
        let of = |address: IpAddr| match address {
            IpAddr::V4(_) => &answer.v4,
            IpAddr::V6(_) => &answer.v6,
        };
        for (address, until) in &self.0 {
            let until = match (of(*address), until) {
                (Family::Failed(_), until) | (_, until @ Until::Grace(_)) => *until,
                (_, Until::Held) => Until::Grace(grace_end),
            };
            if until.holds(now) {
                new.insert(*address, until);
            }
        }
        for address in answer.addresses() {
            new.insert(address, Until::Held);
        }
        cut(&mut new);
        let new: Vec<_> = new.into_iter().collect();
        let changed = new != self.0;
        self.0 = new;
        changed
    }

    /// Drops what ended; tells whether anything did.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, until)| until.holds(now));
        self.0.shrink_to_fit();
        self.0.len() != before
    }

    /// When the next address ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let ends = self.0.iter().filter_map(|(_, until)| match until {
            Until::Held => None,
            Until::Grace(end) => Some(*end),
        });
        ends.min()
    }

    pub(super) fn to_map(&self) -> BTreeMap<IpAddr, Until> {
        self.0.iter().copied().collect()
    }
}

fn cut(addresses: &mut BTreeMap<IpAddr, Until>) {
    let graced = addresses.iter().filter_map(|(address, until)| match until {
        Until::Held => None,
        Until::Grace(end) => Some((*end, *address)),
    });
    let graced: BTreeSet<_> = graced.collect();
    for (_, address) in graced.iter().take(graced.len().saturating_sub(GRACED_MAX)) {
        addresses.remove(address);
    }
}
