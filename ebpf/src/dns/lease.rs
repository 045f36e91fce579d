//! How long an answer counts, and which place it takes among the names of an address.

use crate::rows::NodeRow;
use crate::rows::egress::{LEARNED_NAMES, LearnedName};

/// The longest time to live that counts, seconds.
pub const TTL_MAX: u32 = 1800;
/// The shortest grace where none is set, seconds.
const GRACE_MIN: u32 = 30;
/// An address that was used so lately does not give way to a new one, nanoseconds.
pub const IN_USE: u64 = 60 * SECOND;
/// A query waits so long for its answer, nanoseconds.
pub const QUERY_AGE_MAX: u64 = 30 * SECOND;
/// Nanoseconds
pub const SECOND: u64 = 1_000_000_000;

/// The time to live that counts, seconds.
#[inline(always)]
pub const fn ttl(answered: u32, node: &NodeRow) -> u32 {
    let ttl = if answered < node.dns_min_ttl {
        node.dns_min_ttl
    } else {
        answered
    };
    if ttl > TTL_MAX { TTL_MAX } else { ttl }
}

/// How long an address stays allowed whose time to live counts as `ttl`, nanoseconds.
#[inline(always)]
pub const fn span(ttl: u32, node: &NodeRow) -> u64 {
    let grace = if node.dns_grace != 0 {
        node.dns_grace
    } else if ttl < GRACE_MIN {
        GRACE_MIN
    } else {
        ttl
    };
    (ttl as u64 + grace as u64) * SECOND
}

/// The place that `name` takes: its own, else one that is free or over, else the one that is over first.
#[inline(always)]
pub fn place(names: &[LearnedName; LEARNED_NAMES], name: u64, now: u64) -> usize {
    let mut best = 0;
    let mut best_rank = u64::MAX;
    let mut i = 0;
    while i < LEARNED_NAMES {
        let there = &names[i];
        if there.name == name {
            return i;
        }
        let rank = if there.name == 0 || there.expires <= now {
            0
        } else {
            there.expires
        };
        if rank < best_rank {
            best = i;
            best_rank = rank;
        }
        i += 1;
    }
    best
}
