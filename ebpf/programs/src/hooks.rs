//! Each program's decision, called with what the kernel knows of the packet.
//!
//! Functions of their own, so that the rest of a program needs no stack beside theirs.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use weft_ebpf::decide::{fragments, with};
use weft_ebpf::event::hook;
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;

use crate::forward::{DROP, Forward, LEAVE, refuse};
use crate::maps::{self, Maps};
use crate::sys;

/// On what a pod sends. A fragment has to fit those before it, and one that is dropped all the same is not counted as sent.
#[inline(never)]
pub fn from_pod(skb: *mut __sk_buff, packet: &Packet) -> i32 {
    if !fits(skb, packet) {
        return refuse(DropReason::Fragments);
    }
    let action = decide_from_pod(skb, packet);
    if action == DROP {
        drop_fragment(skb, packet);
    }
    action
}

/// Whether it is no fragment, or follows those before it. That it is one is looked at here and in [`drop_fragment`], each by
/// itself: a value that is kept over the decision makes the verifier follow that twice.
#[inline(never)]
fn fits(skb: *mut __sk_buff, packet: &Packet) -> bool {
    if packet.place == 0 {
        return true;
    }
    let second = (sys::now() / 1_000_000_000) as u32;
    let row = maps::fragments_of(sys::ifindex(&TcContext::new(skb)));
    row.is_some_and(|row| fragments::take(row, packet, second))
}

#[inline(never)]
fn drop_fragment(skb: *mut __sk_buff, packet: &Packet) {
    if packet.place == 0 {
        return;
    }
    if let Some(row) = maps::fragments_of(sys::ifindex(&TcContext::new(skb))) {
        fragments::dropped(row, packet);
    }
}

#[inline(always)]
fn decide_from_pod(skb: *mut __sk_buff, packet: &Packet) -> i32 {
    let at = Forward::new(skb, packet);
    match from_pod_inside(&at) {
        LEAVE => with::leave(&Maps, packet, &at.leaver.get(), &at),
        action => action,
    }
}

#[inline(never)]
fn from_pod_inside(at: &Forward<'_, { hook::FROM_POD }>) -> i32 {
    with::from_pod(&Maps, at.packet, sys::ifindex(&at.ctx), at)
}

/// On what reaches a pod through the host stack.
#[inline(never)]
pub fn to_pod(skb: *mut __sk_buff, packet: &Packet) -> i32 {
    let at = Forward::<{ hook::TO_POD }>::new(skb, packet);
    let entered = sys::entered(&at.ctx);
    with::to_pod(&Maps, packet, sys::ifindex(&at.ctx), entered, &at)
}

/// On what other nodes send.
#[inline(never)]
pub fn from_overlay(skb: *mut __sk_buff, packet: &Packet) -> i32 {
    let at = Forward::<{ hook::FROM_OVERLAY }>::new(skb, packet);
    match sys::tunnel_key(&at.ctx) {
        Some((peer, vnid)) => with::from_overlay(&Maps, packet, peer, vnid, &at),
        None => refuse(DropReason::NoTunnelKey),
    }
}

/// On what the host stack sends to pods of other nodes.
#[inline(never)]
pub fn to_overlay(skb: *mut __sk_buff, packet: &Packet) -> i32 {
    let at = Forward::<{ hook::TO_OVERLAY }>::new(skb, packet);
    with::to_overlay(&Maps, packet, sys::entered(&at.ctx), &at)
}

/// On what the host has translated for a pod.
#[inline(always)]
pub fn after_dnat(skb: *mut __sk_buff, packet: &Packet) -> i32 {
    let at = Forward::new(skb, packet);
    match after_dnat_inside(&at) {
        LEAVE => with::leave(&Maps, packet, &at.leaver.get(), &at),
        action => action,
    }
}

#[inline(never)]
fn after_dnat_inside(at: &Forward<'_, { hook::AFTER_DNAT }>) -> i32 {
    with::after_dnat(&Maps, at.packet, at)
}

/// Notes in the packet by which interface it came. Last: whatever comes after a branch the verifier looks at twice.
#[inline(never)]
pub fn note_entered(skb: *mut __sk_buff) {
    sys::note_entered(&TcContext::new(skb));
}

/// Whether the packet comes with a tunnel key.
#[inline(never)]
pub fn has_tunnel_key(skb: *mut __sk_buff) -> bool {
    sys::tunnel_key(&TcContext::new(skb)).is_some()
}
