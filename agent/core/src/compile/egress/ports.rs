//! Port classes: packets that the same rules with ports concern are of one class.

use std::collections::{BTreeMap, BTreeSet};

use weft_ebpf::rows::egress::{PORT_BITS, PORTS_CAPACITY, PortKey};

use super::Unfit;
use crate::model::EgressRule;

/// Comparisons of a cut with a range that one protocol may cost.
const MOST_WORK: usize = 1 << 25;
/// Rules of all classes together.
const MOST_MEMBERS: usize = 1 << 20;

/// The classes of a policy.
pub(super) struct Classes {
    /// Prefix length and key -> class.
    pub(super) ports: BTreeMap<(u32, PortKey), u32>,
    /// Class -> the rules that concern it.
    pub(super) members: BTreeMap<u32, BTreeSet<usize>>,
}

/// Cuts each protocol's ports where some rule begins or ends. Equal sets of rules are one class; ports that no rule names are of
/// none.
pub(super) fn classes(policy: u64, rules: &[EgressRule]) -> Result<Classes, Unfit> {
    let mut spans: BTreeMap<u8, Vec<(u32, u32, usize)>> = BTreeMap::new();
    for (rank, rule) in rules.iter().enumerate() {
        for ports in &rule.ports {
            let span = (
                u32::from(*ports.range.start()),
                u32::from(*ports.range.end()),
                rank,
            );
            let protocol = ports.protocol.number();
            spans.entry(protocol).or_default().push(span);
        }
    }
    let mut numbers: BTreeMap<BTreeSet<usize>, u32> = BTreeMap::new();
    let mut ports = BTreeMap::new();
    let mut found = 0;
    for (protocol, spans) in spans {
        let cuts: BTreeSet<u32> = spans
            .iter()
            .flat_map(|(first, last, _)| [*first, last + 1])
            .collect();
        let cuts: Vec<u32> = cuts.into_iter().collect();
        if cuts.len().saturating_mul(spans.len()) > MOST_WORK {
            return Err(Unfit::Ports);
        }
        for cut in cuts.windows(2) {
            let (first, end) = (cut[0], cut[1]);
            let ranks: BTreeSet<usize> = spans
                .iter()
                .filter(|(from, to, _)| *from <= first && first <= *to)
                .map(|(_, _, rank)| *rank)
                .collect();
            if ranks.is_empty() {
                continue;
            }
            if !numbers.contains_key(&ranks) {
                found += ranks.len();
            }
            if found > MOST_MEMBERS || ports.len() > PORTS_CAPACITY as usize {
                return Err(Unfit::Ports);
            }
            let next = u32::try_from(numbers.len() + 1).unwrap_or(u32::MAX); // at most one for each port
            let class = *numbers.entry(ranks).or_insert(next);
            for (bits, port) in blocks(first, end) {
                let key = PortKey {
                    policy: policy.to_ne_bytes(),
                    proto: protocol,
                    port: port.to_be_bytes(),
                    reserved: 0,
                };
                ports.insert((PORT_BITS - 16 + bits, key), class);
            }
        }
    }
    Ok(Classes {
        ports,
        members: numbers
            .into_iter()
            .map(|(ranks, class)| (class, ranks))
            .collect(),
    })
}

/// The aligned blocks that make up `first..end`: length of the prefix on 16 bits, and first port.
fn blocks(mut first: u32, end: u32) -> Vec<(u32, u16)> {
    let mut blocks = Vec::new();
    while first < end {
        let aligned = if first == 0 {
            16
        } else {
            first.trailing_zeros().min(16)
        };
        let fitting = (end - first).ilog2();
        let size = aligned.min(fitting);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below 65536, as `end` is at most that"
        )]
        blocks.push((16 - size, first as u16));
        first += 1 << size;
    }
    blocks
}
