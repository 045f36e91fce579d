//! New connections: each takes a place of its endpoint's share, and the connection that had it gives way.
//!
//! They are noted when the packet has been decided on, since a decision has no stack left for it.

use weft_ebpf::rows::flow::{FlowKey, FlowPlace, FlowRow, FlowUseRow, IN_USE, NEW_FLOWS};

use crate::maps::{FLOW_PLACES, FLOW_USE, FLOWS, NEW, node};
use crate::sys;

/// Places that are looked at for one connection: one in use is passed over, but for the last.
const TRIES: u32 = 4;

/// Has a connection noted by [`commit`].
#[inline(always)]
pub fn add(key: &FlowKey, row: FlowRow) {
    let Some(new) = NEW.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a per-CPU value of integers only; programs of this CPU are not preempted by another one on it.
    let new = unsafe { &mut *new };
    let at = new.count as usize;
    if at < NEW_FLOWS {
        new.keys[at] = *key;
        new.rows[at] = row;
        new.count += 1;
    }
}

/// Notes what was added. Every run has to come here once its decision has returned.
#[inline(never)]
pub fn commit() {
    let Some(new) = NEW.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: as in `add`, whose borrow has ended.
    let new = unsafe { &mut *new };
    let count = new.count;
    new.count = 0;
    let [first, second] = &mut new.rows;
    if count > 0 {
        insert(&new.keys[0], first);
    }
    if count > 1 {
        insert(&new.keys[1], second);
    }
}

#[inline(never)]
fn insert(key: &FlowKey, row: &mut FlowRow) {
    let share = node().flow_share;
    let Some(used) = FLOW_USE.get_ptr_mut(row.ifindex) else {
        return; // no endpoint, or one that is being removed: nobody would remove the row
    };
    if share == 0 {
        return;
    }
    let last = TRIES - 1;
    for turn in 0..TRIES {
        // SAFETY: the pointer is one into a map value.
        let next = unsafe { sys::fetch_add(&raw mut (*used).next, 1) };
        let place = FlowPlace {
            ifindex: row.ifindex,
            place: next as u32 & (share - 1),
        };
        if vacate(&place, turn == last, used) {
            row.place = place.place;
            let noted =
                FLOW_PLACES.insert(&place, key, 0).is_ok() && FLOWS.insert(key, row, 0).is_ok();
            if !noted {
                // SAFETY: as above.
                unsafe { sys::fetch_add(&raw mut (*used).refused, 1) };
            }
            return;
        }
    }
}

/// Removes the connection that has the place, if it is not in use or `must` give way. Whether the place is free.
#[inline(never)]
fn vacate(place: &FlowPlace, must: bool, used: *mut FlowUseRow) -> bool {
    // A copy: the place may be given anew meanwhile. A mixture of two keys has no row, or one that is not this place's.
    // SAFETY: integers only.
    let Some(old) = (unsafe { FLOW_PLACES.get(place) }).copied() else {
        return true;
    };
    // SAFETY: the fields are read whole; a row that is removed meanwhile is one that gave way.
    let Some(row) = (unsafe { FLOWS.get(&old) }) else {
        return true;
    };
    if row.place != place.place || row.ifindex != place.ifindex {
        return true; // noted anew since, at another place
    }
    if sys::now().wrapping_sub(row.seen) < IN_USE {
        if !must {
            return false;
        }
        // SAFETY: `used` is a pointer into a map value.
        unsafe { sys::fetch_add(&raw mut (*used).evicted, 1) };
    }
    let _ignored = FLOWS.remove(&old); // gone already
    true
}
