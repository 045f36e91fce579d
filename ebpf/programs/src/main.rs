//! The programs of weft, of tc and one of netfilter: entry points only. What they decide stands in `weft_ebpf::decide`.
//!
//! # Layout
//! - `maps`: the maps, and the decisions' view of them
//! - `hooks`: each program's decision, called with what the kernel knows
//! - `forward`: what is decided becomes an action of tc
//! - `drops`: counters and events of dropped packets
//! - `flows`: new connections, each in a place of its endpoint's share
//! - `learn`: addresses of names, out of the answers that pods receive
//! - `once`: parts of decisions that the verifier looks at once
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
mod flows;
mod forward;
mod hooks;
mod learn;
mod maps;
mod once;
mod sys;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::{classifier, socket_filter};
use aya_ebpf::programs::{SkBuffContext, TcContext};
use weft_ebpf::event::hook;
use weft_ebpf::packet::{ETH_LEN, Packet, parse, parse_ip};
use weft_ebpf::reason::DropReason;

use crate::forward::refuse;
use crate::sys::Frame;

/// Host veth, ingress: what a pod sends.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    let action = run::<{ hook::FROM_POD }>(ctx.skb.skb, hooks::from_pod);
    hooks::note_entered(ctx.skb.skb);
    action
}

/// Host veth, egress: what reaches a pod through the host stack.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    run::<{ hook::TO_POD }>(ctx.skb.skb, hooks::to_pod)
}

/// Overlay device, ingress: what other nodes send.
#[classifier]
pub fn from_overlay(ctx: TcContext) -> i32 {
    run::<{ hook::FROM_OVERLAY }>(ctx.skb.skb, hooks::from_overlay)
}

/// Overlay device, egress: what the host stack sends to pods of other nodes.
#[classifier]
pub fn to_overlay(ctx: TcContext) -> i32 {
    // `from_pod` has decided on what comes with a tunnel key: what the host routes has none yet.
    if hooks::has_tunnel_key(ctx.skb.skb) {
        return forward::NEXT;
    }
    run::<{ hook::TO_OVERLAY }>(ctx.skb.skb, hooks::to_overlay)
}

/// Netfilter (`xt_bpf`), FORWARD and INPUT: what a pod sends and the host has translated. Not 0 drops the packet.
#[socket_filter]
pub fn after_dnat(ctx: SkBuffContext) -> i64 {
    let skb = ctx.skb.skb;
    let mut packet = Packet::default();
    let action = match read_ip(skb, &mut packet) {
        forward::NEXT => hooks::after_dnat(skb, &packet),
        refused => refused,
    };
    let action = match forward::refused(action) {
        Some(reason) => drops::fail::<{ hook::AFTER_DNAT }>(skb, &packet, reason),
        None => action,
    };
    flows::commit();
    i64::from(action == forward::DROP)
}

/// Parses, then decides and acts, then learns.
///
/// Each step is a function of its own, so that its part of the stack is there only while it is at work: a chain of calls has
/// 512 bytes in all, and before Linux 6.9 each function counts for a multiple of 32 (`agent/tests/programs/stack.rs`).
#[inline(always)]
fn run<const HOOK: u32>(
    skb: *mut __sk_buff,
    act: impl FnOnce(*mut __sk_buff, &Packet) -> i32,
) -> i32 {
    let mut packet = Packet::default();
    let action = match once::read_frame(skb, &mut packet) {
        forward::NEXT => act(skb, &packet),
        refused => refused,
    };
    let action = match forward::refused(action) {
        Some(reason) => drops::fail::<HOOK>(skb, &packet, reason),
        None => action,
    };
    flows::commit();
    // The packet itself goes where the action says when the program has ended.
    let roles = learn::roles(&packet, HOOK);
    if roles != 0 && action != forward::DROP {
        learn::look(skb, roles);
    }
    action
}

/// Reads the headers; some packets are refused by them alone.
#[inline(always)]
fn read(skb: *mut __sk_buff, packet: &mut Packet) -> i32 {
    let ctx = TcContext::new(skb);
    packet.len = ctx.len();
    if sys::is_tagged(&ctx) {
        return refuse(DropReason::NotIp);
    }
    match parse(&Frame(&ctx), packet) {
        Ok(()) if packet.dst.is_link_local_multicast_v6() => refuse(DropReason::LinkLocal),
        Ok(()) => forward::NEXT,
        Err(reason) => refuse(reason),
    }
}

/// Reads the headers of a packet that begins with its IP header. Its length counts as that of the pod's frame.
#[inline(never)]
fn read_ip(skb: *mut __sk_buff, packet: &mut Packet) -> i32 {
    let ctx = TcContext::new(skb);
    packet.len = ctx.len() + ETH_LEN as u32;
    match parse_ip(&Frame(&ctx), packet) {
        Ok(()) => forward::NEXT,
        Err(reason) => refuse(reason),
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
