//! What is decided becomes an action of tc.

use core::cell::Cell;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{Denial, Outcome, Party};
use weft_ebpf::event::hook;
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{EndpointRow, GATEWAY_MAC, OVERLAY_MAC, endpoint_flag};

use crate::drops::drop_packet;
use crate::{maps, sys};

/// Let the next program on the hook see the packet, then the stack (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub const NEXT: i32 = -1;
/// Drop (`TCX_DROP`, `TC_ACT_SHOT`).
pub const DROP: i32 = 2;
/// No action of tc: the egress firewall has still to decide, in stack that the decision so far has left.
pub const LEAVE: i32 = -2;

/// No action of tc: the packet is dropped for a reason that has nothing to do with who sent it to whom, in stack that the
/// decision has left.
#[inline(always)]
pub const fn refuse(reason: DropReason) -> i32 {
    LEAVE - reason as i32
}

/// The number of the reason for which [`refuse`] gave the action; `None` if it is another one.
#[inline(always)]
pub const fn refused(action: i32) -> Option<u32> {
    if action < LEAVE {
        Some((LEAVE - action) as u32)
    } else {
        None
    }
}

/// A packet at a hook, which is one of [`hook`].
pub struct Forward<'a, const HOOK: u32> {
    /// The program's context.
    pub ctx: TcContext,
    /// The packet's headers.
    pub packet: &'a Packet,
    /// Who sends it out of the cluster, where the action is [`LEAVE`].
    pub leaver: Cell<Party>,
}

impl<'a, const HOOK: u32> Forward<'a, HOOK> {
    #[inline(always)]
    pub fn new(skb: *mut __sk_buff, packet: &'a Packet) -> Self {
        Self {
            ctx: TcContext::new(skb),
            packet,
            leaver: Cell::new(Party::HOST),
        }
    }
}

impl<const HOOK: u32> Outcome for Forward<'_, HOOK> {
    type Done = i32;

    /// Into the pod. Its MAC address is written first: the frame still carries the sender's next hop.
    #[inline(always)]
    fn deliver(&self, endpoint: &EndpointRow) -> i32 {
        self.count_sent();
        if let Err(reason) = sys::set_macs(&self.ctx, endpoint.mac, GATEWAY_MAC) {
            return refuse(reason);
        }
        count_delivered(endpoint.ifindex, self.packet.len);
        if HOOK == hook::TO_POD {
            NEXT // already on the pod's device
        } else if endpoint.flags & endpoint_flag::SHAPED != 0 {
            sys::redirect(endpoint.ifindex) // through the device's qdisc
        } else {
            sys::redirect_peer(endpoint.ifindex)
        }
    }

    #[inline(always)]
    fn tunnel(&self, node: Addr, vnid: u32) -> i32 {
        self.count_sent();
        match encapsulate(self.ctx.skb.skb, &node, vnid) {
            NEXT if HOOK == hook::FROM_POD => sys::redirect(maps::node().overlay_ifindex),
            action => action, // the packet is on its way out of the overlay device already, or refused
        }
    }

    #[inline(always)]
    fn pass(&self) -> i32 {
        self.count_sent();
        NEXT
    }

    #[inline(always)]
    fn leave(&self, party: &Party) -> i32 {
        self.leaver.set(*party);
        LEAVE
    }

    #[inline(always)]
    fn drop(&self, denial: &Denial) -> i32 {
        drop_packet::<HOOK>(self.ctx.skb.skb, self.packet, denial)
    }
}

impl<const HOOK: u32> Forward<'_, HOOK> {
    #[inline(always)]
    fn count_sent(&self) {
        if HOOK == hook::FROM_POD
            && let Some(row) = maps::TRAFFIC.get_ptr_mut(sys::ifindex(&self.ctx))
        {
            // SAFETY: a per-CPU value; programs of this CPU are not preempted by another one on it.
            let row = unsafe { &mut *row };
            row.from_packets += 1;
            row.from_bytes += u64::from(self.packet.len);
        }
    }
}

/// Prepares the packet for the overlay device.
#[inline(never)]
fn encapsulate(skb: *mut __sk_buff, node: &Addr, vnid: u32) -> i32 {
    let ctx = TcContext::new(skb);
    if maps::node().overlay_ifindex == 0 {
        return refuse(DropReason::NoOverlay);
    }
    // The receiving device takes a frame from its own MAC address for an echo and drops it: all overlay devices
    // have one address, so the source must be another.
    let done = sys::set_tunnel_key(&ctx, *node, vnid)
        .and_then(|()| sys::set_macs(&ctx, OVERLAY_MAC, GATEWAY_MAC));
    match done {
        Ok(()) => NEXT,
        Err(reason) => refuse(reason),
    }
}

#[inline(always)]
fn count_delivered(ifindex: u32, bytes: u32) {
    if let Some(row) = maps::TRAFFIC.get_ptr_mut(ifindex) {
        // SAFETY: as in `count_sent`.
        let row = unsafe { &mut *row };
        row.to_packets += 1;
        row.to_bytes += u64::from(bytes);
    }
}
