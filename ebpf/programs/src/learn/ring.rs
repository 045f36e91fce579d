//! Bounds how many addresses a project has: each new one takes the next place of a ring, and who had it gives way.

use weft_ebpf::dns::{Repeat, Step, lease};
use weft_ebpf::rows::dns::RingKey;
use weft_ebpf::rows::egress::{LEARNED_NAMES, LearnedKey, LearnedRow};

use super::maps::{Counter, LEARNED, RING, Scratch, count, next_place};
use crate::sys::Kernel;

/// Places that are looked at for one address: who is in use keeps his.
const TRIES: u32 = 16;

/// Takes a place for `learned_key`'s address, into `ring_key`; whether there was one.
#[inline(always)]
pub fn take_place(scratch: &mut Scratch) -> bool {
    scratch.placed = 0;
    if scratch.node.learned_limit != 0 {
        Kernel::repeat::<Scratch, Place>(TRIES, scratch);
    }
    scratch.placed != 0
}

struct Place;

impl Step<Scratch> for Place {
    #[inline(always)]
    fn step(scratch: &mut Scratch, _: u32) -> bool {
        let limit = scratch.node.learned_limit;
        let Some(next) = next_place(scratch) else {
            return false;
        };
        if limit == 0 {
            return false; // said already; the verifier wants to see it
        }
        let project = scratch.event.project;
        scratch.ring_key = RingKey {
            project,
            slot: (next % u64::from(limit)) as u32,
            reserved: 0,
        };
        // SAFETY: the address is copied at once; places change rarely, and a mixture of two addresses has no row.
        if let Some(addr) = unsafe { RING.get(&scratch.ring_key) }.copied() {
            scratch.evicted_key = LearnedKey { project, addr };
            // SAFETY: times are read whole; a row that is removed meanwhile is one that gave way.
            let row = unsafe { LEARNED.get(&scratch.evicted_key) };
            // The address may have been learned anew since, at another place.
            if let Some(row) = row
                && row.slot == scratch.ring_key.slot
            {
                if row.used != 0 && scratch.now < row.used + lease::IN_USE {
                    return true;
                }
                let early = is_alive(row, scratch.now);
                let _ignored = LEARNED.remove(&scratch.evicted_key);
                if early {
                    count(scratch, Counter::Evicted);
                }
            }
        }
        if RING
            .insert(&scratch.ring_key, &scratch.learned_key.addr, 0)
            .is_ok()
        {
            scratch.placed = 1;
        }
        false
    }
}

#[inline(always)]
fn is_alive(row: &LearnedRow, now: u64) -> bool {
    let mut i = 0;
    let mut alive = false;
    while i < LEARNED_NAMES {
        alive |= row.names[i].name != 0 && row.names[i].expires > now;
        i += 1;
    }
    alive
}
