//! Counters and events of dropped packets.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use weft_ebpf::decide::{Denial, Tables};
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{DropKey, DropRow, REASONS_CAPACITY, SHARES_CAPACITY};

use crate::forward::DROP;
use crate::maps::{BUDGET, DROPS, EVENTS, Maps, REASONS, SHARES};
use crate::sys;

/// Events of one CPU in one window; the counters are exact whatever is suppressed.
const EVENTS_PER_WINDOW: u64 = 1000;
/// Of these, what is kept for drops that are the first of their kind in this second: a flood takes no other kind's place.
const EVENTS_FOR_FIRST: u64 = 500;
/// Events of one kind, of one CPU in one second.
const EVENTS_OF_KIND: u32 = 50;
const SECOND: u64 = 1_000_000_000;

/// Counts the packet and tells user space; returns the action. Each half is a function of its own, so that drops cost the
/// forwarding path no instructions, and has its part of the stack only while it is at work.
#[inline(always)]
pub fn drop_packet<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet, denial: &Denial) -> i32 {
    count::<HOOK>(skb, packet, denial.reason as u32);
    tell::<HOOK>(skb, packet, denial);
    DROP
}

#[inline(never)]
fn count<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet, reason: u32) {
    let bytes = u64::from(packet.len);
    let ifindex = endpoint_of::<HOOK>(skb, packet);
    if let Some(row) = REASONS.get_ptr_mut(reason) {
        // SAFETY: a per-CPU value; programs of this CPU are not preempted by another one on it.
        let row = unsafe { &mut *row };
        row.packets += 1;
        row.bytes += bytes;
    }
    let key = DropKey { ifindex, reason };
    match DROPS.get_ptr_mut(key) {
        Some(row) => {
            // SAFETY: as above.
            let row = unsafe { &mut *row };
            row.packets += 1;
            row.bytes += bytes;
        }
        // A full map evicts its oldest row; should the insert fail all the same, `REASONS` still has the packet.
        None => {
            let _ignored = DROPS.insert(key, DropRow { packets: 1, bytes }, 0);
        }
    }
}

/// Drops a packet for a reason, given by its number, that has nothing to do with who sent it to whom.
#[inline(never)]
pub fn fail<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet, reason: u32) -> i32 {
    let reason = DropReason::from_number(reason).unwrap_or(DropReason::HelperFailed);
    drop_packet::<HOOK>(skb, packet, &reason.into())
}

/// The endpoint a drop is charged to: the sender, where it is one of this node; else the receiver.
#[inline(always)]
fn endpoint_of<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet) -> u32 {
    let ctx = TcContext::new(skb);
    if matches!(HOOK, hook::FROM_POD | hook::AFTER_DNAT) {
        return sys::ifindex(&ctx);
    }
    if HOOK == hook::TO_POD {
        let entered = sys::entered(&ctx);
        return match Maps.sender(entered) {
            Some(_) => entered,
            None => sys::ifindex(&ctx),
        };
    }
    Maps.endpoint(&packet.dst).map_or(0, |row| row.ifindex)
}

/// Takes an event of an endpoint's drop from its share and from this CPU's budget, and returns the time.
#[inline(always)]
fn event_allowed(ifindex: u32, reason: DropReason) -> Option<u64> {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let slot = ifindex.wrapping_mul(REASONS_CAPACITY) + reason as u32;
    let share = SHARES.get_ptr_mut(slot % SHARES_CAPACITY)?;
    // SAFETY: a per-CPU value, as in `drop_packet`.
    let share = unsafe { &mut *share };
    let second = (now / SECOND) as u32;
    if share.second != second {
        share.second = second;
        share.drops = 0;
    }
    let before = share.drops;
    share.drops = before.saturating_add(1);
    let row = BUDGET.get_ptr_mut(0)?;
    // SAFETY: as above.
    let budget = unsafe { &mut *row };
    if now.wrapping_sub(budget.window_start) >= SECOND {
        budget.window_start = now;
        budget.sent = 0;
    }
    let most = if before == 0 {
        EVENTS_PER_WINDOW
    } else {
        EVENTS_PER_WINDOW - EVENTS_FOR_FIRST
    };
    if before >= EVENTS_OF_KIND || budget.sent >= most {
        budget.suppressed += 1;
        return None;
    }
    budget.sent += 1;
    Some(now)
}

/// Writes the event where user space reads it: the stack has no room for one.
#[inline(never)]
fn tell<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet, denial: &Denial) {
    if denial.reason == DropReason::LinkLocal {
        return;
    }
    let Some(time) = event_allowed(endpoint_of::<HOOK>(skb, packet), denial.reason) else {
        return;
    };
    let Some(mut place) = EVENTS.reserve_untyped::<DropEvent>(0) else {
        if let Some(row) = BUDGET.get_ptr_mut(0) {
            // SAFETY: a per-CPU value, as in `drop_packet`.
            unsafe { &mut *row }.suppressed += 1;
        }
        return;
    };
    place.write(DropEvent {
        time,
        src_project: denial.src_project,
        dst_project: denial.dst_project,
        src: packet.src,
        dst: packet.dst,
        src_vnid: denial.src_vnid,
        dst_vnid: denial.dst_vnid,
        reason: denial.reason as u32,
        ifindex: sys::ifindex(&TcContext::new(skb)),
        len: packet.len,
        hook: HOOK,
        rule: denial.rule,
        src_port: packet.src_port,
        dst_port: packet.dst_port,
        proto: packet.proto,
        reserved: [0; 7],
    });
    place.submit(0);
}
