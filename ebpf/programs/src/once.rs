//! Parts of the decisions that the verifier looks at once, however many ways lead to them.
//!
//! A function with global linkage is verified by itself, for any arguments (Linux 5.12 for pointers); every other one again for
//! each state in which it is called. Its pointers may be null as far as the verifier knows.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{Party, Tables as _, with};
use weft_ebpf::packet::{self, Bytes, Packet, Walk};
use weft_ebpf::rows::egress::{RuleKey, RuleRow};
use zerocopy::FromBytes;

use crate::forward::DROP;
use crate::maps::Maps;

/// Reads the headers of a frame into `packet`: [`NEXT`](crate::forward::NEXT), or a refusal. The verifier knows no more of the packet
/// then than its type, so that the decisions are verified for one state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_frame(skb: *mut __sk_buff, packet: *mut Packet) -> i32 {
    // SAFETY: whoever calls it passes a reference.
    match unsafe { packet.as_mut() } {
        Some(packet) => crate::read(skb, packet),
        None => DROP,
    }
}

/// A frame that reads extension headers by itself: [`Frame`](crate::sys::Frame) calls [`extension`] for them.
struct Plain<'a>(&'a TcContext);

impl Bytes for Plain<'_> {
    #[inline(always)]
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.0.load(offset).ok()
    }
}

/// [`packet::extension`]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn extension(skb: *mut __sk_buff, walk: *mut Walk) -> u32 {
    // SAFETY: whoever calls it passes a reference.
    match unsafe { walk.as_mut() } {
        Some(walk) => packet::extension(&Plain(&TcContext::new(skb)), walk),
        None => packet::CUT,
    }
}

/// [`with::judged`]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judged(party: *const Party, packet: *const Packet) -> u32 {
    // SAFETY: whoever calls it passes references.
    match unsafe { (party.as_ref(), packet.as_ref()) } {
        (Some(party), Some(packet)) => with::judged(&Maps, party, packet),
        _ => with::CLOSED,
    }
}

/// [`Tables::better`](weft_ebpf::decide::Tables::better)
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn better(key: *const RuleKey, best: *mut RuleRow) -> u32 {
    // SAFETY: whoever calls it passes references, to two values.
    let (Some(key), Some(best)) = (unsafe { key.as_ref() }, unsafe { best.as_mut() }) else {
        return 0;
    };
    // Before Linux 6.2 a key that comes by a pointer is no key of a lookup.
    let key = core::hint::black_box(*key);
    match Maps.rule(&key) {
        Some(found) => {
            *best = found;
            1
        }
        None => 0,
    }
}

/// [`with::by_prefix`]; 0 if the class has no rows.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn by_prefix(policy: u64, class: u32, addr: *const Addr, rule: *mut RuleRow) -> u32 {
    // SAFETY: whoever calls it passes references.
    let (Some(addr), Some(rule)) = (unsafe { addr.as_ref() }, unsafe { rule.as_mut() }) else {
        return 0;
    };
    u32::from(with::by_prefix(&Maps, policy, class, addr, rule))
}
