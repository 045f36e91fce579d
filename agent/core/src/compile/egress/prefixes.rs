//! Rules by prefix, arranged for a binary search over prefix lengths: see [`SearchRow`].

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use weft_ebpf::addr::{Addr, V4_PREFIX_BITS, mapped_bits};
use weft_ebpf::rows::egress::{RuleKey, RuleRow, SEARCH_LENS, SearchRow};

use super::Unfit;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Length of the prefix that is the whole family.
    fn root(self) -> u8 {
        match self {
            Self::V4 => V4_PREFIX_BITS,
            Self::V6 => 0,
        }
    }
}

/// The rules of one family: address and length, an outer prefix before those in it -> its first rule.
pub(super) struct Prefixes {
    family: Family,
    rules: BTreeMap<(Addr, u8), RuleRow>,
}

impl Prefixes {
    pub(super) fn new(family: Family) -> Self {
        Self {
            family,
            rules: BTreeMap::new(),
        }
    }

    /// 4 or 6.
    pub(super) fn family(&self) -> u32 {
        match self.family {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }

    /// Adds a rule; rules come in order, so the first one of a prefix stays.
    pub(super) fn add(&mut self, net: &IpNet, row: RuleRow) {
        let bits = mapped_bits(&net.network(), net.prefix_len());
        self.rules
            .entry((net.network().into(), bits))
            .or_insert(row);
    }

    /// Adds the rows of all prefixes and the signposts to them, and answers how they are searched.
    pub(super) fn rows(
        self,
        policy: u64,
        class: u32,
        rows: &mut BTreeMap<RuleKey, RuleRow>,
    ) -> Result<SearchRow, Unfit> {
        let root = self.family.root();
        let lens: BTreeSet<u8> = self.rules.keys().map(|(_, len)| *len).collect();
        let lens: Vec<u8> = lens.into_iter().filter(|len| *len != root).collect();
        if lens.len() >= SEARCH_LENS {
            return Err(Unfit::Lengths {
                family: self.family(),
                lengths: lens.len(),
            });
        }
        let mut search = SearchRow {
            default: RuleRow::NONE,
            lens: [0; SEARCH_LENS],
        };
        plant(&lens, 1, &mut search.lens);

        // The prefixes around the one at hand, outermost first, each with its effective rule.
        let mut around: Vec<(Addr, u8, RuleRow)> = Vec::new();
        for ((addr, len), own) in self.rules {
            while around
                .last()
                .is_some_and(|(outer, bits, _)| addr.masked(u32::from(*bits)) != *outer)
            {
                around.pop();
            }
            let outer = around.last().map_or(RuleRow::NONE, |(_, _, row)| *row);
            let effective = if own.rank < outer.rank { own } else { outer };
            around.push((addr, len, effective));
            if len == root {
                search.default = effective;
                continue;
            }
            let mut slot = 1;
            loop {
                let step = search.lens[slot];
                let key = RuleKey {
                    policy,
                    class,
                    kind: u32::from(step),
                    value: addr.masked(u32::from(step)),
                };
                if step == len {
                    rows.insert(key, effective);
                    break;
                }
                slot *= 2;
                if len > step {
                    slot += 1;
                    let so_far = around.iter().rev().find(|(_, bits, _)| *bits <= step);
                    rows.entry(key)
                        .or_insert(so_far.map_or(RuleRow::NONE, |(_, _, row)| *row));
                }
            }
        }
        Ok(search)
    }
}

/// Plants sorted lengths as a search tree of least depth. Up to 63 lengths never pass the last slot.
fn plant(lens: &[u8], slot: usize, tree: &mut [u8; SEARCH_LENS]) {
    if let Some(middle) = lens.get(lens.len() / 2) {
        tree[slot] = *middle;
        plant(&lens[..lens.len() / 2], 2 * slot, tree);
        plant(&lens[lens.len() / 2 + 1..], 2 * slot + 1, tree);
    }
}
