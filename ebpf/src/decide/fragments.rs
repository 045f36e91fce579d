//! Fragments that a pod sends.
//!
//! A network stack keeps fragments until their packet is whole, for up to a minute, in memory that all share (4 MB of a namespace,
//! `net.ipv4.ipfrag_high_thresh`). So a pod has so many unfinished packets at once and no more, and so many fragments of each. They
//! must come in order, as every sender's stack sends them: what has come then is known by one number, and nobody can seem to finish
//! a packet that stays unfinished.

use crate::packet::{FRAGMENT_OFFSET, MORE_FRAGMENTS, Packet};
use crate::rows::{FRAGMENTS_AT_ONCE, FragmentsRow, UnfinishedRow};

/// Fragments of one packet: a little more than the largest packet has on a link of 1,280 bytes, the smallest of IPv6.
const FRAGMENTS_OF_PACKET: u16 = 64;
/// How long stacks wait for the rest of a packet, seconds: `net.ipv4.ipfrag_time` is 30, `net.ipv6.ip6frag_time` 60 (RFC 8200
/// section 4.5).
const WAIT: u32 = 60;

/// Whether the fragment may go on; notes what has come of its packet. `second` is the monotonic clock's.
#[inline(always)]
pub fn take(row: &mut FragmentsRow, packet: &Packet, second: u32) -> bool {
    let key = key(packet);
    let offset = packet.place & FRAGMENT_OFFSET;
    let units = packet.payload.div_ceil(8);
    let more = packet.place & MORE_FRAGMENTS != 0;
    // All but the last hold whole units (RFC 791): a next one could not follow otherwise.
    if packet.payload == 0 || more && !packet.payload.is_multiple_of(8) {
        return false;
    }
    let mut free = FRAGMENTS_AT_ONCE;
    let mut i = 0;
    while i < FRAGMENTS_AT_ONCE {
        let slot = &mut row.unfinished[i];
        let waiting = slot.count != 0 && second.wrapping_sub(slot.second) <= WAIT;
        if !waiting {
            // A key stands in one place, so that `dropped` finds the right one.
            if slot.key == key {
                slot.key = !key;
            }
            free = i;
        } else if slot.key == key {
            return follow(slot, offset, units, more);
        }
        i += 1;
    }
    if offset != 0 || free >= FRAGMENTS_AT_ONCE {
        return false;
    }
    row.unfinished[free] = UnfinishedRow {
        key,
        second,
        next: units,
        count: 1,
        reserved: 0,
    };
    true
}

/// Takes in that a fragment was dropped after [`take`] had let it go. If it was the first one, nobody keeps anything of the
/// packet, and nothing may follow. Of any other packet those before it are kept somewhere until they are given up.
#[inline(always)]
pub fn dropped(row: &mut FragmentsRow, packet: &Packet) {
    let key = key(packet);
    let first = packet.place & FRAGMENT_OFFSET == 0;
    let mut i = 0;
    while i < FRAGMENTS_AT_ONCE {
        let slot = &mut row.unfinished[i];
        if slot.key == key {
            slot.count = if first { 0 } else { FRAGMENTS_OF_PACKET };
            return;
        }
        i += 1;
    }
}

/// The next fragment of a packet of which some have come.
#[inline(always)]
fn follow(slot: &mut UnfinishedRow, offset: u16, units: u16, more: bool) -> bool {
    if offset != slot.next || slot.count >= FRAGMENTS_OF_PACKET {
        return false;
    }
    slot.next = slot.next.saturating_add(units);
    // Whole: the slot is free again.
    slot.count = if more { slot.count + 1 } else { 0 };
    true
}

/// Tells the packets of one pod apart. Two with one key are taken for one, to their sender's loss alone.
#[inline(always)]
fn key(packet: &Packet) -> u32 {
    let dst = word(packet, 8).rotate_left(7) ^ word(packet, 12);
    dst.wrapping_mul(0x9e37_79b1) ^ u32::from(packet.ident) ^ u32::from(packet.proto) << 16
}

/// Four bytes of the destination.
#[inline(always)]
const fn word(packet: &Packet, at: usize) -> u32 {
    let dst = &packet.dst.0;
    u32::from_be_bytes([dst[at], dst[at + 1], dst[at + 2], dst[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Addr;

    fn fragment(ident: u16, offset: u16, payload: u16, more: bool) -> Packet {
        Packet {
            dst: Addr::v4([10, 128, 2, 1]),
            place: offset | if more { MORE_FRAGMENTS } else { 0 },
            ident,
            payload,
            proto: 17,
            ..Packet::default()
        }
    }

    /// Sends a packet in fragments of 1,480 bytes; how many of them went on.
    fn send(row: &mut FragmentsRow, ident: u16, bytes: u16, second: u32) -> usize {
        let steps = (0..bytes).step_by(1480);
        steps
            .filter(|at| {
                let left = bytes - at;
                take(
                    row,
                    &fragment(ident, at / 8, left.min(1480), left > 1480),
                    second,
                )
            })
            .count()
    }

    #[test]
    fn any_number_of_whole_packets() {
        let mut row = FragmentsRow::default();
        for ident in 0..1000 {
            assert_eq!(send(&mut row, ident, 65_000, 1), 44);
        }
        assert!(row.unfinished.iter().all(|slot| slot.count == 0));
    }

    #[test]
    fn so_many_unfinished_ones_for_so_long() {
        let mut row = FragmentsRow::default();
        let first = |row: &mut _, ident, second| take(row, &fragment(ident, 0, 8, true), second);
        for ident in 0..1000 {
            let fits = usize::from(ident) < FRAGMENTS_AT_ONCE;
            assert_eq!(first(&mut row, ident, 100), fits, "{ident}");
        }
        assert!(!first(&mut row, 2000, 100 + WAIT));
        assert_eq!(send(&mut row, 3000, 5000, 100 + WAIT), 0);
        // One is finished, and its place is free.
        assert!(take(&mut row, &fragment(0, 1, 3, false), 100 + WAIT));
        assert_eq!(send(&mut row, 3000, 5000, 100 + WAIT), 4);
        assert!(first(&mut row, 2000, 101 + WAIT));
    }

    #[test]
    fn in_order_and_once() {
        let mut row = FragmentsRow::default();
        assert!(
            !take(&mut row, &fragment(1, 185, 100, false), 1),
            "the last one first"
        );
        assert!(take(&mut row, &fragment(1, 0, 1480, true), 1));
        assert!(!take(&mut row, &fragment(1, 0, 1480, true), 1), "again");
        assert!(!take(&mut row, &fragment(1, 370, 100, false), 1), "a hole");
        assert!(
            !take(&mut row, &fragment(1, 184, 100, false), 1),
            "an overlap"
        );
        assert!(
            !take(&mut row, &fragment(2, 185, 100, false), 1),
            "another packet's"
        );
        assert!(
            !take(&mut row, &fragment(1, 185, 0, false), 1),
            "nothing in it"
        );
        assert!(
            !take(&mut row, &fragment(1, 185, 9, true), 1),
            "no whole unit"
        );
        assert!(take(&mut row, &fragment(1, 185, 100, false), 1));
        assert!(
            !take(&mut row, &fragment(1, 185, 100, false), 1),
            "it is whole"
        );
    }

    /// What is dropped behind the check leaves no packet that seems to be finished and is not.
    #[test]
    fn dropped_ones() {
        let mut row = FragmentsRow::default();
        for ident in 0..100 {
            let (first, last) = (fragment(ident, 0, 8, true), fragment(ident, 1, 8, false));
            assert!(
                take(&mut row, &first, 1),
                "{ident}: a dropped first one costs nothing"
            );
            dropped(&mut row, &first);
            assert!(!take(&mut row, &last, 1), "{ident}: and nothing follows it");
        }
        for ident in 0..100 {
            let (first, last) = (fragment(ident, 0, 8, true), fragment(ident, 1, 8, false));
            let fits = usize::from(ident) < FRAGMENTS_AT_ONCE;
            assert_eq!(take(&mut row, &first, 1), fits, "{ident}");
            assert_eq!(take(&mut row, &last, 1), fits, "{ident}");
            if fits {
                dropped(&mut row, &last);
            }
            assert!(!take(&mut row, &last, 1), "{ident}: nothing follows it");
        }
        assert!(take(&mut row, &fragment(200, 0, 8, true), 2 + WAIT));
    }

    /// A packet of an identification that was used before, in another place.
    #[test]
    fn dropped_ones_with_an_identification_of_before() {
        let mut row = FragmentsRow::default();
        let (first, last) = (fragment(1, 0, 8, true), fragment(1, 1, 8, false));
        for round in 0..20 {
            let second = 1 + round * (WAIT + 1);
            assert!(take(&mut row, &first, second) && take(&mut row, &last, second));
            dropped(&mut row, &last);
            let held = row.unfinished.iter();
            let held = held.filter(|it| it.count != 0 && it.second == second);
            assert_eq!(held.count(), 1, "it counts as unfinished");
            assert!(!take(&mut row, &first, second));
        }
    }

    #[test]
    fn tiny_ones_end_soon() {
        let mut row = FragmentsRow::default();
        let went = (0..8000).filter(|at| take(&mut row, &fragment(1, *at, 8, true), 1));
        assert_eq!(went.count(), usize::from(FRAGMENTS_OF_PACKET));
    }
}
