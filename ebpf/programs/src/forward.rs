//! A verdict becomes an action of tc.

use aya_ebpf::programs::TcContext;
use weft_ebpf::decide::{Denial, Verdict};
use weft_ebpf::event::hook;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{EndpointRow, GATEWAY_MAC, OVERLAY_MAC, endpoint_flag};

use crate::{maps, sys};

/// Let the next program on the hook see the packet, then the stack (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub const NEXT: i32 = -1;
/// Drop (`TCX_DROP`, `TC_ACT_SHOT`).
pub const DROP: i32 = 2;

/// Carries a verdict out.
///
/// # Errors
/// Why the packet is dropped: so the verdict, or a helper refused.
#[inline(always)]
pub fn forward(ctx: &TcContext, hook: u32, verdict: &Verdict) -> Result<i32, Denial> {
    if let Verdict::Drop(denial) = verdict {
        return Err(*denial);
    }
    if hook == hook::FROM_POD {
        count_sent(ctx);
    }
    match *verdict {
        Verdict::Deliver(endpoint) => Ok(deliver(ctx, hook, &endpoint)?),
        Verdict::Tunnel { node, vnid } => {
            let overlay = maps::node().overlay_ifindex;
            if overlay == 0 {
                return Err(DropReason::NoOverlay.into());
            }
            sys::set_tunnel_key(ctx, node, vnid)?;
            // The receiving device takes a frame from its own MAC address for an echo and drops it: all overlay devices
            // have one address, so the source must be another.
            sys::set_macs(ctx, OVERLAY_MAC, GATEWAY_MAC)?;
            if hook == hook::TO_OVERLAY {
                return Ok(NEXT); // the packet is on its way out of the overlay device already
            }
            Ok(sys::redirect(overlay))
        }
        Verdict::Pass => Ok(NEXT),
        Verdict::Drop(denial) => Err(denial),
    }
}

/// Into the pod. Its MAC address is written first: the frame still carries the sender's next hop.
#[inline(always)]
fn deliver(ctx: &TcContext, hook: u32, endpoint: &EndpointRow) -> Result<i32, DropReason> {
    sys::set_macs(ctx, endpoint.mac, GATEWAY_MAC)?;
    count_delivered(ctx, endpoint.ifindex);
    Ok(if hook == hook::TO_POD {
        NEXT // already on the pod's device
    } else if endpoint.flags & endpoint_flag::SHAPED != 0 {
        sys::redirect(endpoint.ifindex) // through the device's qdisc
    } else {
        sys::redirect_peer(endpoint.ifindex)
    })
}

#[inline(always)]
fn count_sent(ctx: &TcContext) {
    if let Some(row) = maps::TRAFFIC.get_ptr_mut(sys::ifindex(ctx)) {
        // SAFETY: a per-CPU value; programs of this CPU are not preempted by another one on it.
        let row = unsafe { &mut *row };
        row.from_packets += 1;
        row.from_bytes += u64::from(ctx.len());
    }
}

#[inline(always)]
fn count_delivered(ctx: &TcContext, ifindex: u32) {
    if let Some(row) = maps::TRAFFIC.get_ptr_mut(ifindex) {
        // SAFETY: as in `count_sent`.
        let row = unsafe { &mut *row };
        row.to_packets += 1;
        row.to_bytes += u64::from(ctx.len());
    }
}
