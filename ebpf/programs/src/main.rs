//! The tc programs of weft: entry points only. What they decide stands in `weft_ebpf::decide`.
//!
//! # Layout
//! - `maps`: the maps, and the decisions' view of them
//! - `forward`: what is decided becomes an action of tc
//! - `drops`: counters and events of dropped packets
//! - `learn`: addresses of names, out of the answers that pods receive
//! - `sys`: the helper calls, each behind a safe function
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
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
mod learn;
mod maps;
mod sys;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_ebpf::decide::with;
use weft_ebpf::event::hook;
use weft_ebpf::packet::{Packet, parse};
use weft_ebpf::reason::DropReason;

use crate::forward::Forward;
use crate::maps::Maps;
use crate::sys::Frame;

/// Host veth, ingress: what a pod sends.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    run(&ctx, hook::FROM_POD, |at| {
        with::from_pod(&Maps, at.packet, sys::ifindex(at.ctx), at)
    })
}

/// Host veth, egress: what reaches a pod through the host stack.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    run(&ctx, hook::TO_POD, |at| {
        with::to_pod(&Maps, at.packet, sys::ifindex(at.ctx), at)
    })
}

/// Overlay device, ingress: what other nodes send.
#[classifier]
pub fn from_overlay(ctx: TcContext) -> i32 {
    run(&ctx, hook::FROM_OVERLAY, |at| {
        match sys::tunnel_key(at.ctx) {
            Some((peer, vnid)) => with::from_overlay(&Maps, at.packet, peer, vnid, at),
            None => at.fail(DropReason::NoTunnelKey),
        }
    })
}

/// Overlay device, egress: what the host stack sends to pods of other nodes.
#[classifier]
pub fn to_overlay(ctx: TcContext) -> i32 {
    // `from_pod` has decided on what comes with a tunnel key: what the host routes has none yet.
    if sys::tunnel_key(&ctx).is_some() {
        return forward::NEXT;
    }
    run(&ctx, hook::TO_OVERLAY, |at| {
        with::to_overlay(&Maps, at.packet, at)
    })
}

/// Parses, then decides and acts, then learns.
#[inline(always)]
fn run(ctx: &TcContext, hook: u32, act: impl FnOnce(&Forward<'_>) -> i32) -> i32 {
    let mut packet = Packet {
        len: ctx.len(),
        ..Packet::default()
    };
    let parsed = if sys::is_tagged(ctx) {
        Err(DropReason::NotIp)
    } else {
        parse(&Frame(ctx), &mut packet)
    };
    let at = Forward {
        ctx,
        hook,
        packet: &packet,
    };
    let action = match parsed {
        Ok(()) if packet.dst.is_link_local_multicast_v6() => at.fail(DropReason::LinkLocal),
        Ok(()) => act(&at),
        Err(reason) => at.fail(reason),
    };
    // The packet itself goes where the action says when the program has ended.
    let roles = learn::roles(&packet, hook);
    if roles != 0 && action != forward::DROP {
        learn::look(ctx.skb.skb, roles);
    }
    action
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
