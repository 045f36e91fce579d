//! Which network number a project gets.

use std::collections::BTreeSet;

use weft_core::model::Vnid;

/// A source of randomness: a number below the bound.
pub(super) type Random<'a> = &'a mut dyn FnMut(u32) -> u32;

/// A random free number, taken from then on; `None` if there is none. Random, so that a number that was given up is
/// unlikely to come back soon.
pub(super) fn allocate(taken: &mut BTreeSet<u32>, random: Random<'_>) -> Option<u32> {
    let (first, last) = (Vnid::FIRST_ALLOCATABLE.number(), Vnid::MAX.number());
    let start = first + random(last - first + 1).min(last - first);
    let free = first_free(taken, start, last).or_else(|| first_free(taken, first, start))?;
    taken.insert(free);
    Some(free)
}

/// The first number of `from..=to` that is not taken.
fn first_free(taken: &BTreeSet<u32>, from: u32, to: u32) -> Option<u32> {
    let mut wanted = from;
    for number in taken.range(from..=to) {
        if *number != wanted {
            break;
        }
        wanted += 1;
    }
    (wanted <= to).then_some(wanted)
}
