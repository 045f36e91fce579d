//! Counters and events of dropped packets.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use weft_ebpf::decide::{Denial, Tables};
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{DropKey, DropRow};

use crate::forward::DROP;
use crate::maps::{BUDGET, DROPS, EVENTS, Maps, REASONS};
use crate::sys;

/// Events of one CPU in one window; the counters are exact whatever is suppressed.
const EVENTS_PER_WINDOW: u64 = 200;
const WINDOW_NANOSECONDS: u64 = 1_000_000_000;

/// Counts the packet and tells user space; returns the action. A function of its own, so that drops cost the
/// forwarding path no instructions.
#[inline(never)]
pub fn drop_packet<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet, denial: &Denial) -> i32 {
    let ctx = &TcContext::new(skb);
    let reason = denial.reason as u32;
    let bytes = u64::from(packet.len);
    if let Some(row) = REASONS.get_ptr_mut(reason) {
        // SAFETY: a per-CPU value; programs of this CPU are not preempted by another one on it.
        let row = unsafe { &mut *row };
        row.packets += 1;
        row.bytes += bytes;
    }
    let key = DropKey {
        ifindex: endpoint_of::<HOOK>(ctx, packet),
        reason,
    };
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
    if denial.reason != DropReason::LinkLocal
        && let Some(time) = event_allowed()
    {
        send::<HOOK>(ctx, packet, denial, time);
    }
    DROP
}

/// Drops a packet for a reason, given by its number, that has nothing to do with who sent it to whom.
#[inline(never)]
pub fn fail<const HOOK: u32>(skb: *mut __sk_buff, packet: &Packet, reason: u32) -> i32 {
    let reason = DropReason::from_number(reason).unwrap_or(DropReason::HelperFailed);
    drop_packet::<HOOK>(skb, packet, &reason.into())
}

/// The endpoint a drop is charged to: on a pod's own hooks that pod, from the overlay the receiver.
#[inline(always)]
fn endpoint_of<const HOOK: u32>(ctx: &TcContext, packet: &Packet) -> u32 {
    if HOOK == hook::FROM_POD || HOOK == hook::TO_POD {
        return sys::ifindex(ctx);
    }
    Maps.endpoint(&packet.dst).map_or(0, |row| row.ifindex)
}

/// Takes one event from this CPU's budget and returns the time.
#[inline(always)]
fn event_allowed() -> Option<u64> {
    let row = BUDGET.get_ptr_mut(0)?;
    // SAFETY: a per-CPU value, as in `drop_packet`.
    let budget = unsafe { &mut *row };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if now.wrapping_sub(budget.window_start) >= WINDOW_NANOSECONDS {
        budget.window_start = now;
        budget.sent = 0;
    }
    if budget.sent >= EVENTS_PER_WINDOW {
        budget.suppressed += 1;
        return None;
    }
    budget.sent += 1;
    Some(now)
}

/// Writes the event where user space reads it: the stack has no room for one.
#[inline(always)]
fn send<const HOOK: u32>(ctx: &TcContext, packet: &Packet, denial: &Denial, time: u64) {
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
        ifindex: sys::ifindex(ctx),
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
