//! Answers of pods that were reached by a service address.
//!
//! A pod's packet to a service goes through the host's stack, which translates the address and routes the packet on, with its
//! source intact. The answer would take the short way to the pod, past the host, and come from an address that the pod has
//! never asked. So what the host translated for a local pod is noted, and the answer goes back through the host.

use super::Tables;
use super::connection::{fragments, received, sent};
use crate::packet::Packet;
use crate::rows::service::ServedRow;

/// Notes that the host sends a packet of the local pod behind `client` to another pod: the pod has not, so it is translated.
#[inline(never)]
pub(super) fn note<T: Tables>(tables: &T, packet: &Packet, client: u32) {
    let key = sent(packet);
    let row = ServedRow { ifindex: client };
    if !packet.is_later_fragment() && tables.served(&key) != Some(row) {
        tables.note_served(&key, Some(row));
    }
}

/// Whether a packet to the local pod behind `client` is an answer that the host has to translate.
#[inline(never)]
pub(super) fn is_answer<T: Tables>(tables: &T, packet: &Packet, client: u32) -> bool {
    let row = ServedRow { ifindex: client };
    let mut key = received(packet);
    if packet.is_later_fragment() {
        fragments(&mut key, packet);
        return tables.served(&key) == Some(row);
    }
    if tables.served(&key) != Some(row) {
        return false;
    }
    if packet.is_first_fragment() {
        // The others follow it: the host puts them together before it translates them.
        fragments(&mut key, packet);
        tables.note_served(&key, Some(row));
    }
    true
}

/// Takes in that a pod sends to another one itself: if it opens a connection, an earlier one between the same ports that the
/// host translated is over, and its answers come directly.
#[inline(always)]
pub(super) fn direct<T: Tables>(tables: &T, packet: &Packet) {
    if packet.opens != 0 {
        forget(tables, packet);
    }
}

#[inline(never)]
fn forget<T: Tables>(tables: &T, packet: &Packet) {
    let key = sent(packet);
    if tables.served(&key).is_some() {
        tables.note_served(&key, None);
    }
}
