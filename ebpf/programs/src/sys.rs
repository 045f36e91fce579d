//! The helper calls (bpf-helpers(7)), each behind a safe function.

use core::arch::asm;
use core::ffi::{c_long, c_void};

use aya_ebpf::bindings::{__sk_buff, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key};
use aya_ebpf::helpers::{
    bpf_ktime_get_ns, bpf_loop, bpf_redirect, bpf_redirect_peer, bpf_skb_get_tunnel_key,
    bpf_skb_load_bytes, bpf_skb_set_tunnel_key,
};
use aya_ebpf::programs::TcContext;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::ENTERED_UNKNOWN;
use weft_ebpf::dns::{MESSAGE_BYTES, Repeat, Step};
use weft_ebpf::packet::{Bytes, Walk};
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::egress::{LEARNED_NAMES, LearnedName, LearnedRow};
use zerocopy::FromBytes;

use crate::once;

/// A packet as a source of bytes.
pub struct Frame<'a>(pub &'a TcContext);

impl Bytes for Frame<'_> {
    #[inline(always)]
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.0.load(offset).ok()
    }

    #[inline(always)]
    fn extension(&self, walk: &mut Walk) -> u32 {
        once::extension(self.0.skb.skb, walk)
    }
}

/// Loops by `bpf_loop` (Linux 5.17): the verifier checks one round.
pub struct Kernel;

impl Repeat for Kernel {
    #[inline(always)]
    fn repeat<S, F: Step<S>>(times: u32, state: &mut S) {
        let mut state: *mut S = state;
        let round: unsafe extern "C" fn(u32, *mut *mut S) -> c_long = round::<S, F>;
        // SAFETY: the function has the signature that the helper calls, and is given the pointer that it expects, which
        // outlives the call.
        unsafe { bpf_loop(times, round as *mut c_void, (&raw mut state).cast(), 0) };
    }
}

/// One round. The state is map memory, behind a pointer on the stack: the helper takes no other.
unsafe extern "C" fn round<S, F: Step<S>>(index: u32, state: *mut *mut S) -> c_long {
    // SAFETY: `repeat` has borrowed it for the length of the loop and does not touch it meanwhile.
    let state = unsafe { &mut **state };
    c_long::from(!F::step(state, index))
}

/// Nanoseconds of the monotonic clock.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Adds to a value that several processors change; tells what it was. The target has no atomic types.
///
/// # Safety
/// The pointer is one into a map value.
#[inline(always)]
pub unsafe fn fetch_add(value: *mut u64, amount: u64) -> u64 {
    let mut amount = amount;
    // SAFETY: the instruction reads and writes the value, which the caller says is there.
    unsafe {
        asm!(
            "{amount} = atomic_fetch_add((u64 *)({value} + 0), {amount})",
            value = in(reg) value,
            amount = inout(reg) amount,
            options(nostack),
        );
    }
    amount
}

/// Puts `new` in the place of `old`, if that is there; what was there.
///
/// # Safety
/// The pointer is one into a map value.
#[inline(always)]
unsafe fn compare_exchange(value: *mut u64, old: u64, new: u64) -> u64 {
    let mut there = old;
    // SAFETY: the instruction reads and writes the value, which the caller says is there.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({value} + 0, r0, {new})",
            value = in(reg) value,
            new = in(reg) new,
            inout("r0") there,
            options(nostack),
        );
    }
    there
}

/// Copies up to [`MESSAGE_BYTES`] of a packet; tells how many, or 0 if it ends before.
#[inline(always)]
pub fn copy(
    skb: *mut __sk_buff,
    offset: u32,
    len: u32,
    to: &mut [u8; MESSAGE_BYTES as usize],
) -> u32 {
    let len = bounded(len);
    // SAFETY: the memory has room for `len` bytes.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), offset, to.as_mut_ptr().cast(), len) };
    if failed == 0 { len } else { 0 }
}

/// A length from 1 to [`MESSAGE_BYTES`], of 0 too.
///
/// Written as an instruction that no compiler can move or turn into a comparison with equality: kernels before Linux 6.8
/// learn no bound from one of these, and refuse to load what may be 0 bytes.
#[inline(always)]
fn bounded(len: u32) -> u32 {
    let mut len = u64::from(len);
    // SAFETY: the instructions change the register alone.
    unsafe {
        asm!(
            "if {len} > {most} goto +1",
            "goto +1",
            "{len} = {most}",
            "if {len} > 0 goto +1",
            "{len} = 1",
            len = inout(reg) len,
            most = const MESSAGE_BYTES,
            options(nostack, nomem),
        );
    }
    len as u32
}

/// The names of a row that other processors may be writing: each field is read whole, and a name before its time, which is
/// written first: a name that is seen has its own time.
#[inline(always)]
pub fn names(row: *mut LearnedRow, names: &mut [LearnedName; LEARNED_NAMES]) {
    let mut i = 0;
    while i < LEARNED_NAMES {
        // SAFETY: the pointer is a map value's, which outlives the run.
        unsafe {
            let there = &raw const (*row).names[i];
            names[i].name = (&raw const (*there).name).read_volatile();
            names[i].expires = (&raw const (*there).expires).read_volatile();
        }
        i += 1;
    }
}

/// Writes a name at the place where `seen` was: time, never an earlier one than is there, then name. Whether it then stands
/// there.
#[inline(always)]
pub fn put_name(row: *mut LearnedRow, place: usize, seen: u64, wanted: &LearnedName) -> bool {
    // SAFETY: as in `names`; each field is written whole.
    unsafe {
        let there = &raw mut (*row).names[place % LEARNED_NAMES];
        let name = &raw mut (*there).name;
        let expires = &raw mut (*there).expires;
        let own = name.read_volatile() == wanted.name;
        if own && expires.read_volatile() >= wanted.expires {
            return true;
        }
        if expires.read_volatile() < wanted.expires {
            expires.write_volatile(wanted.expires);
        }
        // As it was seen, or not at all: another processor may have taken the place meanwhile.
        if compare_exchange(name, seen, wanted.name) != seen {
            return false;
        }
        (&raw mut (*there).ifindex).write_volatile(wanted.ifindex);
        (&raw mut (*there).ttl).write_volatile(wanted.ttl);
        name.read_volatile() == wanted.name && expires.read_volatile() >= wanted.expires
    }
}

/// Index of the interface the program runs on.
#[inline(always)]
pub fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context pointer is valid while the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// Index of the interface by which the packet came to the node; 0 if the node made it.
///
/// The kernel has it (`skb_iif`) in every packet that it forwards but for the fragments that it makes of an IPv6 packet
/// (`ip6_copy_metadata`). Those keep what [`note_entered`] has left.
#[inline(always)]
pub fn entered(ctx: &TcContext) -> u32 {
    // SAFETY: as in `ifindex`.
    let (entered, noted) = unsafe { ((*ctx.skb.skb).ingress_ifindex, (*ctx.skb.skb).tc_index) };
    if entered != 0 { entered } else { noted }
}

/// Notes the interface in the packet for [`entered`]: `tc_index` has 16 bits, is copied into fragments, and nothing on a packet's
/// way through the host changes it.
#[inline(always)]
pub fn note_entered(ctx: &TcContext) {
    let ifindex = ifindex(ctx);
    let noted = if ifindex < ENTERED_UNKNOWN {
        ifindex
    } else {
        ENTERED_UNKNOWN
    };
    // SAFETY: as in `ifindex`; programs of tc may write the field.
    unsafe { (*ctx.skb.skb).tc_index = noted };
}

/// Whether the frame came with a VLAN tag: the kernel takes it out of the bytes before programs see them.
#[inline(always)]
pub fn is_tagged(ctx: &TcContext) -> bool {
    // SAFETY: as in `ifindex`.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// Writes both MAC addresses.
#[inline(always)]
pub fn set_macs(ctx: &TcContext, dst: [u8; 6], src: [u8; 6]) -> Result<(), DropReason> {
    ctx.store(0, &[dst, src], 0)
        .map_err(|_| DropReason::HelperFailed)
}

/// Outer source address (IPv4) and VXLAN network of a packet that came out of the overlay device.
#[inline(always)]
pub fn tunnel_key(ctx: &TcContext) -> Option<(Addr, u32)> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    // SAFETY: the pointers are valid and the size is that of the structure.
    let failed = unsafe {
        bpf_skb_get_tunnel_key(ctx.skb.skb, &mut key, size_of::<bpf_tunnel_key>() as u32, 0)
    };
    if failed != 0 {
        return None;
    }
    // SAFETY: without BPF_F_TUNINFO_IPV6 the kernel fills the IPv4 member, in host byte order.
    let peer = unsafe { key.__bindgen_anon_1.remote_ipv4 };
    Some((Addr::v4(peer.to_be_bytes()), key.tunnel_id))
}

/// Says where the overlay device shall send the packet. The underlay is IPv4.
#[inline(always)]
pub fn set_tunnel_key(ctx: &TcContext, node: Addr, vnid: u32) -> Result<(), DropReason> {
    let Some(node) = node.as_v4() else {
        return Err(DropReason::HelperFailed);
    };
    // SAFETY: as in `tunnel_key`.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    key.tunnel_id = vnid;
    key.__bindgen_anon_1.remote_ipv4 = u32::from_be_bytes(node);
    key.tunnel_ttl = 64;
    // The inner packet has its own checksum; an outer one is not customary over IPv4 (RFC 7348 section 5).
    let flags = u64::from(BPF_F_ZERO_CSUM_TX);
    // SAFETY: the pointers are valid and the size is that of the structure.
    let failed = unsafe {
        bpf_skb_set_tunnel_key(
            ctx.skb.skb,
            &mut key,
            size_of::<bpf_tunnel_key>() as u32,
            flags,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(DropReason::HelperFailed)
    }
}

/// Out of an interface, through its qdisc.
#[inline(always)]
pub fn redirect(ifindex: u32) -> i32 {
    // SAFETY: the helper only notes the target; a missing device drops the packet.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

/// Into the peer of a veth, in its namespace, without a queue in between.
#[inline(always)]
pub fn redirect_peer(ifindex: u32) -> i32 {
    // SAFETY: as in `redirect`.
    unsafe { bpf_redirect_peer(ifindex, 0) as i32 }
}
