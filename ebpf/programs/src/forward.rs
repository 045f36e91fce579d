//! What is decided becomes an action of tc.

use aya_ebpf::programs::TcContext;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{Denial, Outcome};
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

/// A packet at a hook.
pub struct Forward<'a> {
    /// The program's context.
    pub ctx: &'a TcContext,
    /// One of [`hook`].
    pub hook: u32,
    /// The packet's headers.
    pub packet: &'a Packet,
}

impl Outcome for Forward<'_> {
    type Done = i32;

    /// Into the pod. Its MAC address is written first: the frame still carries the sender's next hop.
    #[inline(always)]
    fn deliver(&self, endpoint: &EndpointRow) -> i32 {
        self.count_sent();
        if let Err(reason) = sys::set_macs(self.ctx, endpoint.mac, GATEWAY_MAC) {
            return self.fail(reason);
        }
        count_delivered(endpoint.ifindex, self.packet.len);
        if self.hook == hook::TO_POD {
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
        let overlay = maps::node().overlay_ifindex;
        if overlay == 0 {
            return self.fail(DropReason::NoOverlay);
        }
        if let Err(reason) = sys::set_tunnel_key(self.ctx, node, vnid) {
            return self.fail(reason);
        }
        // The receiving device takes a frame from its own MAC address for an echo and drops it: all overlay devices
        // have one address, so the source must be another.
        if let Err(reason) = sys::set_macs(self.ctx, OVERLAY_MAC, GATEWAY_MAC) {
            return self.fail(reason);
        }
        if self.hook == hook::TO_OVERLAY {
            return NEXT; // the packet is on its way out of the overlay device already
        }
        sys::redirect(overlay)
    }

    #[inline(always)]
    fn pass(&self) -> i32 {
        self.count_sent();
        NEXT
    }

    #[inline(always)]
    fn drop(&self, denial: &Denial) -> i32 {
        drop_packet(self.ctx, self.hook, self.packet, denial)
    }
}

impl Forward<'_> {
    /// Drops a packet for a reason that has nothing to do with who sent it to whom.
    #[inline(always)]
    pub fn fail(&self, reason: DropReason) -> i32 {
        self.drop(&reason.into())
    }

    #[inline(always)]
    fn count_sent(&self) {
        if self.hook == hook::FROM_POD
            && let Some(row) = maps::TRAFFIC.get_ptr_mut(sys::ifindex(self.ctx))
        {
            // SAFETY: a per-CPU value; programs of this CPU are not preempted by another one on it.
            let row = unsafe { &mut *row };
            row.from_packets += 1;
            row.from_bytes += u64::from(self.packet.len);
        }
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
