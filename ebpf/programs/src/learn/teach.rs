//! Writes addresses.
//!
//! Two processors may learn one address at once, and a third may judge a packet by it meanwhile. A row's fields are
//! written one by one, each whole:
//! - The time is written before its name, so that nobody takes a place for one that is over. In between the name that is
//!   replaced has that time: it may be allowed a moment longer.
//! - A place is taken as it was seen, in one step; who comes second looks for another one. A time that another processor has
//!   shortened is written again. In the worst case a name keeps the later one of two times, both of which were answered for
//!   this address.
//! - Of two that add one row, one finds it there and writes into it; the place in the ring that it took stays empty until
//!   its turn comes again.

use weft_ebpf::dns::{RECORDS, Repeat, Step, lease};
use weft_ebpf::rows::egress::{LEARNED_NAMES, LearnedKey, LearnedName, LearnedRow};

use super::maps::{Counter, IF_NEW, LEARNED, MATCHES, Scratch, count};
use super::ring;
use crate::sys::{self, Kernel};

/// How often a name looks for a place that nobody takes from it.
const TRIES: u32 = 3;

/// Writes all addresses that were found.
#[inline(never)]
pub fn all(scratch: &mut Scratch) {
    scratch.node = crate::maps::node();
    scratch.full = 0;
    if scratch.reader.count() != 0 {
        Kernel::repeat::<Scratch, Address>(RECORDS, scratch);
    }
}

struct Address;

impl Step<Scratch> for Address {
    #[inline(always)]
    fn step(scratch: &mut Scratch, index: u32) -> bool {
        if index >= scratch.reader.count() {
            return false;
        }
        let (addr, ttl) = scratch.reader.found(index);
        scratch.learned_key = LearnedKey {
            project: scratch.event.project,
            addr: *addr,
        };
        let ttl = lease::ttl(ttl, &scratch.node);
        let expires = scratch.now + lease::span(ttl, &scratch.node);
        scratch.name = LearnedName {
            name: 0,
            expires,
            ifindex: scratch.event.ifindex,
            ttl,
        };
        let known = LEARNED.get_ptr_mut(&scratch.learned_key).is_some();
        if known || add(scratch) {
            refresh(scratch);
            count(scratch, Counter::Learned);
        } else {
            scratch.full = 1;
            count(scratch, Counter::Refused);
        }
        true
    }
}

/// Adds a row without names for a new address; whether there was room.
#[inline(always)]
fn add(scratch: &mut Scratch) -> bool {
    if !ring::take_place(scratch) {
        return false;
    }
    scratch.learned.used = 0;
    scratch.learned.slot = scratch.ring_key.slot;
    // Another processor may be faster.
    LEARNED
        .insert(&scratch.learned_key, &scratch.learned, IF_NEW)
        .is_ok()
        || LEARNED.get_ptr_mut(&scratch.learned_key).is_some()
}

/// Writes the names that count into the address's row, if it is there.
#[inline(always)]
fn refresh(scratch: &mut Scratch) {
    scratch.turn = 0;
    scratch.tries = 0;
    Kernel::repeat::<Scratch, Name>(MATCHES * TRIES, scratch);
}

/// One name, or one more try.
struct Name;

impl Step<Scratch> for Name {
    #[inline(always)]
    fn step(scratch: &mut Scratch, _: u32) -> bool {
        if scratch.turn >= scratch.matched {
            return false;
        }
        let Some(row) = LEARNED.get_ptr_mut(&scratch.learned_key) else {
            return false;
        };
        scratch.name.name = scratch.matches[(scratch.turn % MATCHES) as usize];
        choose(scratch, row);
        scratch.tries += 1;
        if sys::put_name(row, scratch.place as usize, scratch.seen, &scratch.name)
            || scratch.tries >= TRIES
        {
            scratch.turn += 1;
            scratch.tries = 0;
        }
        true
    }
}

/// Chooses the name's place. The choice goes through scratch memory, so that the verifier need not follow each one.
#[inline(never)]
fn choose(scratch: &mut Scratch, row: *mut LearnedRow) {
    sys::names(row, &mut scratch.names);
    let names = &scratch.names;
    let place = lease::place(names, scratch.name.name, scratch.now) % LEARNED_NAMES;
    scratch.place = place as u32;
    scratch.seen = names[place].name;
}
