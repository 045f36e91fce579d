//! The tc programs of weft: entry points only. What they decide stands in `weft_ebpf::decide`.
//!
//! # Layout
//! - `maps`: the maps, and the decisions' view of them
//! - `forward`: a verdict becomes an action of tc
//! - `drops`: counters and events of dropped packets
//! - `sys`: the helper calls, each behind a safe function
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "helper calls, map values, and the entry points' symbol names"
)]
#![expect(
    missing_docs,
    reason = "the classifier macro drops the doc comments of entry points"
)]

mod drops;
mod forward;
mod maps;
mod sys;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_ebpf::decide::{self, Verdict};
use weft_ebpf::event::hook;
use weft_ebpf::packet::{Packet, parse};
use weft_ebpf::reason::DropReason;

use crate::maps::Maps;
use crate::sys::Frame;

/// Host veth, ingress: what a pod sends.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    run(&ctx, hook::FROM_POD, |packet| {
        decide::from_pod(&Maps, packet, sys::ifindex(&ctx))
    })
}

/// Host veth, egress: what reaches a pod through the host stack.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    run(&ctx, hook::TO_POD, |packet| {
        decide::to_pod(&Maps, packet, sys::ifindex(&ctx))
    })
}

/// Overlay device, ingress: what other nodes send.
#[classifier]
pub fn from_overlay(ctx: TcContext) -> i32 {
    run(&ctx, hook::FROM_OVERLAY, |packet| {
        match sys::tunnel_key(&ctx) {
            Some((peer, vnid)) => decide::from_overlay(&Maps, packet, peer, vnid),
            None => DropReason::NoTunnelKey.into(),
        }
    })
}

/// Overlay device, egress: what the host stack sends to pods of other nodes.
#[classifier]
pub fn to_overlay(ctx: TcContext) -> i32 {
    run(&ctx, hook::TO_OVERLAY, |packet| {
        decide::to_overlay(&Maps, packet)
    })
}

/// Parses, decides, forwards or drops.
#[inline(always)]
fn run(ctx: &TcContext, hook: u32, decide: impl FnOnce(&Packet) -> Verdict) -> i32 {
    let mut packet = Packet {
        len: ctx.len(),
        ..Packet::default()
    };
    let parsed = if sys::is_tagged(ctx) {
        Err(DropReason::NotIp)
    } else {
        parse(&Frame(ctx), &mut packet)
    };
    let verdict = match parsed {
        Ok(()) if packet.dst.is_link_local_multicast_v6() => DropReason::LinkLocal.into(),
        Ok(()) => decide(&packet),
        Err(reason) => reason.into(),
    };
    match forward::forward(ctx, hook, &verdict) {
        Ok(action) => action,
        Err(denial) => drops::drop_packet(ctx, hook, &packet, &denial),
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects an endless loop: a reachable panic is an error when the program is loaded.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
