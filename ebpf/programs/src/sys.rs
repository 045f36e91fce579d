//! The helper calls (bpf-helpers(7)), each behind a safe function.

use aya_ebpf::bindings::{BPF_F_ZERO_CSUM_TX, bpf_tunnel_key};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_redirect_peer, bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key,
};
use aya_ebpf::programs::TcContext;
use weft_ebpf::addr::Addr;
use weft_ebpf::packet::Bytes;
use weft_ebpf::reason::DropReason;
use zerocopy::FromBytes;

/// A packet as a source of bytes.
pub struct Frame<'a>(pub &'a TcContext);

impl Bytes for Frame<'_> {
    #[inline(always)]
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.0.load(offset).ok()
    }
}

/// Index of the interface the program runs on.
#[inline(always)]
pub fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context pointer is valid while the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
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
