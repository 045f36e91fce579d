//! Answers of pods that were reached by a service address.
//!
//! A pod's packet to a service goes through the host's stack, which translates the address and routes the packet on, with its
//! source intact. The answer would take the short way to the pod, past the host, and come from an address that the pod has
//! never asked. So what the host translated for a local pod is noted, and the answer goes back through the host.

use super::Tables;
use super::connection::{fragments, received, sent};
use crate::packet::Packet;
use crate::rows::flow::{FlowKey, FlowRow, origin};

/// How exactly the time of the last packet is noted: not for every packet, which would keep its cache line moving.
const SEEN_PRECISION: u64 = 1_000_000_000;

/// Notes that the host sends a packet of the local pod behind `client` to another pod: the pod has not, so it is translated.
#[inline(never)]
pub(super) fn note<T: Tables>(tables: &T, packet: &Packet, client: u32) {
    if packet.is_later_fragment() {
        return;
    }
    keep(tables, &translated(sent(packet)), client);
}

/// Whether a packet to the local pod behind `client` is an answer that the host has to translate.
#[inline(never)]
pub(super) fn is_answer<T: Tables>(tables: &T, packet: &Packet, client: u32) -> bool {
    let mut key = translated(received(packet));
    if packet.is_later_fragment() {
        fragments(&mut key, packet);
        return is_noted(tables, &key, client);
    }
    if !is_noted(tables, &key, client) {
        return false;
    }
    // A client may be silent for long while it is answered.
    keep(tables, &key, client);
    if packet.is_first_fragment() {
        // The others follow it: the host puts them together before it translates them.
        fragments(&mut key, packet);
        keep(tables, &key, client);
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
    let key = translated(sent(packet));
    if tables.flow(&key).is_some() {
        tables.forget_flow(&key);
    }
}

/// Notes a connection, or that it is in use.
#[inline(always)]
fn keep<T: Tables>(tables: &T, key: &FlowKey, client: u32) {
    let now = tables.now();
    let row = tables.flow(key);
    if !row.is_some_and(|row| is_of(&row, client) && now.saturating_sub(row.seen) < SEEN_PRECISION)
    {
        tables.note_flow(key, FlowRow::new(origin::TRANSLATED, client, 0, now));
    }
}

#[inline(always)]
fn translated(key: FlowKey) -> FlowKey {
    FlowKey {
        translated: 1,
        ..key
    }
}

#[inline(always)]
fn is_noted<T: Tables>(tables: &T, key: &FlowKey, client: u32) -> bool {
    tables.flow(key).is_some_and(|row| is_of(&row, client))
}

#[inline(always)]
const fn is_of(row: &FlowRow, client: u32) -> bool {
    row.ifindex == client
}
