//! Headers of one packet, parsed once into plain values.

mod icmp;
mod payload;

use zerocopy::FromBytes;

use crate::addr::Addr;
use crate::reason::DropReason;

pub use payload::Payload;

/// Where bytes come from: a packet in the kernel, a slice in tests.
pub trait Bytes {
    /// The value at `offset` from the start of the frame; `None` past its end.
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T>;

    /// Calls [`extension`]; the programs have it verified once.
    #[inline(always)]
    fn extension(&self, walk: &mut Walk) -> u32 {
        extension(self, walk)
    }
}

impl Bytes for [u8] {
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.get(offset..)?)
            .ok()
            .map(|(value, _)| value)
    }
}

/// What the decisions look at. The order of the fields keeps the addresses on whole words of the programs' stack, where the
/// verifier follows them in a quarter of the steps.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Packet {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Length of the frame in bytes; the caller of [`parse`] sets it.
    pub len: u32,
    /// Source port, host byte order; 0 if the packet shows none.
    pub src_port: u16,
    /// Destination port, host byte order; 0 if the packet shows none.
    pub dst_port: u16,
    /// Where in a larger packet it belongs, as in the IPv4 header: the offset in units of eight bytes, and
    /// [`MORE_FRAGMENTS`]; 0 if it is whole.
    pub place: u16,
    /// Identification that the fragments of a packet share; of IPv6, its two halves folded. Meaningless in a whole packet.
    pub ident: u16,
    /// Source MAC address.
    pub src_mac: [u8; 6],
    /// IP protocol of the payload (after IPv6 extension headers).
    pub proto: u8,
    /// 1 if the packet can be the first of a connection: a TCP SYN without ACK, an ICMP echo request, whatever of another
    /// protocol; not a later fragment. Else 0.
    pub opens: u8,
    /// Number of the [`DropReason`] for which no pod may send this packet, whatever its addresses: a source route, an ICMP
    /// error about packets that were not sent to the pod, neighbour discovery. 0 if there is none.
    pub unfit: u8,
    /// Bytes behind the IP header, or behind the fragment header, as the IP header tells. Set in fragments only.
    pub payload: u16,
}

impl Packet {
    /// For a pod as its sender, what is wrong with it.
    #[inline(always)]
    pub fn unfit(&self) -> Option<DropReason> {
        if self.unfit == 0 {
            return None;
        }
        DropReason::from_number(u32::from(self.unfit))
    }

    /// Whether it is a later fragment, which has no ports.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        self.place & FRAGMENT_OFFSET != 0
    }

    /// Whether it is the first of several fragments.
    #[inline(always)]
    pub const fn is_first_fragment(&self) -> bool {
        self.place == MORE_FRAGMENTS
    }
}

/// IP protocol numbers (IANA) that the decisions tell apart.
pub mod proto {
    /// ICMP
    pub const ICMP: u8 = 1;
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
    /// ICMPv6
    pub const ICMPV6: u8 = 58;
    /// SCTP
    pub const SCTP: u8 = 132;
}

/// TCP flags (RFC 9293 section 3.1).
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// Bytes of an Ethernet header.
pub const ETH_LEN: usize = 14;
const ETH_IPV4: [u8; 2] = [0x08, 0x00];
const ETH_IPV6: [u8; 2] = [0x86, 0xdd];
/// The fragment offset in the IPv4 header's flags word (RFC 791).
pub(crate) const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The flag there that more fragments follow.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// Extension headers walked before a packet is refused; a legitimate one has at most two or three.
const MAX_EXTENSIONS: usize = 6;

/// Parses the frame at offset 0: Ethernet, then IPv4 (RFC 791) or IPv6 (RFC 8200), then ports.
///
/// Fills the caller's value in place: the programs have 512 bytes of stack, and a returned one would stand there twice.
///
/// # Errors
/// `NotIp`, `Malformed` or `TooManyHeaders`; `packet` then holds what was found so far.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(bytes: &B, packet: &mut Packet) -> Result<(), DropReason> {
    let eth: [u8; ETH_LEN] = bytes.load(0).ok_or(DropReason::Malformed)?;
    packet.src_mac = [eth[6], eth[7], eth[8], eth[9], eth[10], eth[11]];
    match [eth[12], eth[13]] {
        ETH_IPV4 => parse_v4(bytes, packet),
        ETH_IPV6 => parse_v6(bytes, packet),
        _ => Err(DropReason::NotIp),
    }
}

/// Parses a packet that begins with its IP header, as netfilter has it, like the frame that carried it. The MAC address stays
/// zero.
///
/// # Errors
/// As of [`parse`].
#[inline(always)]
pub fn parse_ip<B: Bytes + ?Sized>(bytes: &B, packet: &mut Packet) -> Result<(), DropReason> {
    let frame = Unframed(bytes);
    let first: u8 = frame.load(ETH_LEN).ok_or(DropReason::Malformed)?;
    match first >> 4 {
        4 => parse_v4(&frame, packet),
        6 => parse_v6(&frame, packet),
        _ => Err(DropReason::NotIp),
    }
}

/// A frame whose Ethernet header is not there: nothing before its end may be loaded.
struct Unframed<'a, B: ?Sized>(&'a B);

impl<B: Bytes + ?Sized> Bytes for Unframed<'_, B> {
    #[inline(always)]
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        self.0.load(offset.wrapping_sub(ETH_LEN))
    }

    #[inline(always)]
    fn extension(&self, walk: &mut Walk) -> u32 {
        walk.offset = walk.offset.wrapping_sub(ETH_LEN);
        let found = self.0.extension(walk);
        walk.offset = walk.offset.wrapping_add(ETH_LEN);
        found
    }
}

#[inline(always)]
fn parse_v4<B: Bytes + ?Sized>(bytes: &B, packet: &mut Packet) -> Result<(), DropReason> {
    let ip: [u8; 20] = bytes.load(ETH_LEN).ok_or(DropReason::Malformed)?;
    let header_len = ((ip[0] & 0x0f) as usize) * 4;
    if ip[0] >> 4 != 4 || header_len < 20 {
        return Err(DropReason::Malformed);
    }
    packet.src = Addr::v4([ip[12], ip[13], ip[14], ip[15]]);
    packet.dst = Addr::v4([ip[16], ip[17], ip[18], ip[19]]);
    packet.proto = ip[9];
    let place = u16::from_be_bytes([ip[6], ip[7]]);
    packet.place = place & (FRAGMENT_OFFSET | MORE_FRAGMENTS);
    packet.ident = u16::from_be_bytes([ip[4], ip[5]]);
    if packet.place != 0 {
        let total = u16::from_be_bytes([ip[2], ip[3]]);
        packet.payload = total.saturating_sub(u16::from(ip[0] & 0x0f) * 4);
    }
    if header_len > 20 && !is_router_alert(bytes, header_len) {
        packet.unfit = DropReason::SourceRoute as u8;
    }
    parse_ports(bytes, ETH_LEN + header_len, packet);
    Ok(())
}

/// Whether the only IPv4 option is Router Alert (RFC 2113), which IGMP has. Others steer or mark the packet's way, and are
/// filtered in most networks (RFC 7126).
#[inline(always)]
fn is_router_alert<B: Bytes + ?Sized>(bytes: &B, header_len: usize) -> bool {
    const ROUTER_ALERT: [u8; 2] = [0x94, 4];
    header_len == 24
        && bytes
            .load::<[u8; 2]>(ETH_LEN + 20)
            .is_some_and(|option| option == ROUTER_ALERT)
}

#[inline(always)]
fn parse_v6<B: Bytes + ?Sized>(bytes: &B, packet: &mut Packet) -> Result<(), DropReason> {
    let first: [u8; 8] = bytes.load(ETH_LEN).ok_or(DropReason::Malformed)?;
    packet.src = bytes.load(ETH_LEN + 8).ok_or(DropReason::Malformed)?;
    packet.dst = bytes.load(ETH_LEN + 24).ok_or(DropReason::Malformed)?;
    // Addresses that stand for IPv4 ones do not belong into IPv6 packets (RFC 4291 section 2.5.5.2 has them for programs):
    // they would be judged as what they are not.
    if first[0] >> 4 != 6 || packet.src.as_v4().is_some() || packet.dst.as_v4().is_some() {
        return Err(DropReason::Malformed);
    }
    let mut walk = Walk::new(first[6]);
    if !matches!(walk.next, proto::TCP | proto::UDP) {
        walk_extensions(bytes, &mut walk)?;
        if walk.routed {
            packet.unfit = DropReason::SourceRoute as u8;
        }
    }
    packet.proto = walk.next;
    packet.place = walk.place;
    packet.ident = walk.ident;
    if packet.place != 0 {
        let behind = u16::from_be_bytes([first[4], first[5]]);
        packet.payload = behind.saturating_sub(walk.before);
    }
    parse_ports(bytes, walk.offset, packet);
    Ok(())
}

/// Where a walk over IPv6 extension headers stands.
#[repr(C)]
#[derive(Default)]
pub struct Walk {
    offset: usize,
    place: u16,
    ident: u16,
    /// Bytes of extension headers up to the end of the last fragment header.
    before: u16,
    walked: u16,
    next: u8,
    /// Whether a routing header names further stations.
    routed: bool,
}

impl Walk {
    /// At the first header behind that of IPv6, which names it.
    #[inline(always)]
    fn new(next: u8) -> Self {
        Self {
            next,
            offset: ETH_LEN + 40,
            ..Self::default()
        }
    }
}

/// What [`extension`] answers: there may be one more, this was none or the last, the packet ends before.
const MORE: u32 = 0;
const LAST: u32 = 1;
/// The packet ends within a header.
pub const CUT: u32 = 2;

/// Walks to the first header that is no extension, or to the fragment header of a later fragment. A function of its own
/// in the programs: its stack slots must not add to the caller's.
#[inline(never)]
fn walk_extensions<B: Bytes + ?Sized>(bytes: &B, walk: &mut Walk) -> Result<(), DropReason> {
    for _ in 0..MAX_EXTENSIONS {
        match bytes.extension(walk) {
            MORE => {}
            LAST => return Ok(()),
            _ => return Err(DropReason::Malformed),
        }
    }
    Err(DropReason::TooManyHeaders)
}

/// Takes in one extension header, if there is one where the walk stands.
#[inline(always)]
pub fn extension<B: Bytes + ?Sized>(bytes: &B, walk: &mut Walk) -> u32 {
    // Hop-by-hop, routing, destination options count 8-byte units after the first; a fragment header has 8 bytes;
    // an authentication header counts 4-byte units minus two (RFC 4302).
    if !matches!(walk.next, 0 | 43 | 44 | 51 | 60) {
        return LAST;
    }
    // The shortest extension header has eight bytes.
    let Some(header) = bytes.load::<[u8; 8]>(walk.offset) else {
        return CUT;
    };
    let len = match walk.next {
        44 => {
            let place = u16::from_be_bytes([header[2], header[3]]);
            // RFC 8200 section 4.5: the offset stands above three bits, and the flag is the lowest.
            walk.place = place >> 3 | (place & 1) << 13;
            walk.ident = u16::from_be_bytes([header[4] ^ header[6], header[5] ^ header[7]]);
            8
        }
        51 => (u16::from(header[1]) + 2) * 4,
        43 => {
            walk.routed |= header[3] != 0; // segments left (RFC 8200 section 4.4)
            (u16::from(header[1]) + 1) * 8
        }
        _ => (u16::from(header[1]) + 1) * 8,
    };
    walk.walked = walk.walked.wrapping_add(len); // at most six headers of 2 KiB
    if walk.next == 44 {
        walk.before = walk.walked;
    }
    walk.offset = walk.offset.wrapping_add(usize::from(len));
    walk.next = header[0];
    if walk.place & FRAGMENT_OFFSET != 0 {
        LAST
    } else {
        MORE
    }
}

/// Ports of TCP, UDP and SCTP, and whether the packet can open a connection. Ports stay zero where the packet shows none:
/// other protocols, later fragments, short ones.
#[inline(always)]
fn parse_ports<B: Bytes + ?Sized>(bytes: &B, offset: usize, packet: &mut Packet) {
    if packet.is_later_fragment() {
        return;
    }
    match packet.proto {
        proto::TCP => {
            if let Some(p) = bytes.load::<[u8; 14]>(offset) {
                ports([p[0], p[1], p[2], p[3]], packet);
                packet.opens = u8::from(p[13] & (TCP_SYN | TCP_ACK) == TCP_SYN);
            } else if let Some(p) = bytes.load::<[u8; 4]>(offset) {
                ports(p, packet);
            }
        }
        proto::UDP | proto::SCTP => {
            if let Some(p) = bytes.load::<[u8; 4]>(offset) {
                ports(p, packet);
            }
            packet.opens = 1;
        }
        proto::ICMP | proto::ICMPV6 => icmp::look(bytes, offset, packet),
        _ => packet.opens = 1,
    }
}

#[inline(always)]
fn ports(p: [u8; 4], packet: &mut Packet) {
    packet.src_port = u16::from_be_bytes([p[0], p[1]]);
    packet.dst_port = u16::from_be_bytes([p[2], p[3]]);
}
