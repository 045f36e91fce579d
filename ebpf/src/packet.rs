//! Headers of one packet, parsed once into plain values.

use zerocopy::FromBytes;

use crate::addr::Addr;
use crate::reason::DropReason;

/// Where bytes come from: a packet in the kernel, a slice in tests.
pub trait Bytes {
    /// The value at `offset` from the start of the frame; `None` past its end.
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T>;
}

impl Bytes for [u8] {
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.get(offset..)?)
            .ok()
            .map(|(value, _)| value)
    }
}

/// What the decisions look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source MAC address.
    pub src_mac: [u8; 6],
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port, host byte order; 0 if the packet shows none.
    pub src_port: u16,
    /// Destination port, host byte order; 0 if the packet shows none.
    pub dst_port: u16,
    /// IP protocol of the payload (after IPv6 extension headers).
    pub proto: u8,
}

/// IP protocol numbers (IANA) that the decisions tell apart.
pub mod proto {
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
    /// SCTP
    pub const SCTP: u8 = 132;
}

const ETH_LEN: usize = 14;
const ETH_IPV4: [u8; 2] = [0x08, 0x00];
const ETH_IPV6: [u8; 2] = [0x86, 0xdd];
/// Extension headers walked before a packet is refused; a legitimate one has at most two or three.
const MAX_EXTENSIONS: usize = 6;

/// Parses the frame at offset 0: Ethernet, then IPv4 (RFC 791) or IPv6 (RFC 8200), then ports.
///
/// # Errors
/// `NotIp`, `Malformed` or `TooManyHeaders`.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(bytes: &B) -> Result<Packet, DropReason> {
    let eth: [u8; ETH_LEN] = bytes.load(0).ok_or(DropReason::Malformed)?;
    let src_mac = [eth[6], eth[7], eth[8], eth[9], eth[10], eth[11]];
    match [eth[12], eth[13]] {
        ETH_IPV4 => parse_v4(bytes, src_mac),
        ETH_IPV6 => parse_v6(bytes, src_mac),
        _ => Err(DropReason::NotIp),
    }
}

#[inline(always)]
fn parse_v4<B: Bytes + ?Sized>(bytes: &B, src_mac: [u8; 6]) -> Result<Packet, DropReason> {
    let ip: [u8; 20] = bytes.load(ETH_LEN).ok_or(DropReason::Malformed)?;
    let header_len = ((ip[0] & 0x0f) as usize) * 4;
    if ip[0] >> 4 != 4 || header_len < 20 {
        return Err(DropReason::Malformed);
    }
    let first_fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff == 0;
    let (src_port, dst_port) = ports(bytes, ip[9], ETH_LEN + header_len, first_fragment);
    Ok(Packet {
        src_mac,
        src: Addr::v4([ip[12], ip[13], ip[14], ip[15]]),
        dst: Addr::v4([ip[16], ip[17], ip[18], ip[19]]),
        src_port,
        dst_port,
        proto: ip[9],
    })
}

#[inline(always)]
fn parse_v6<B: Bytes + ?Sized>(bytes: &B, src_mac: [u8; 6]) -> Result<Packet, DropReason> {
    let first: [u8; 8] = bytes.load(ETH_LEN).ok_or(DropReason::Malformed)?;
    let src: Addr = bytes.load(ETH_LEN + 8).ok_or(DropReason::Malformed)?;
    let dst: Addr = bytes.load(ETH_LEN + 24).ok_or(DropReason::Malformed)?;
    if first[0] >> 4 != 6 {
        return Err(DropReason::Malformed);
    }
    let mut next = first[6];
    let mut offset = ETH_LEN + 40;
    let mut first_fragment = true;
    for _ in 0..MAX_EXTENSIONS {
        // Hop-by-hop, routing, destination options count 8-byte units after the first; a fragment header has 8 bytes;
        // an authentication header counts 4-byte units minus two (RFC 4302).
        let known = matches!(next, 0 | 43 | 60 | 44 | 51);
        if !known {
            let (src_port, dst_port) = ports(bytes, next, offset, first_fragment);
            return Ok(Packet {
                src_mac,
                src,
                dst,
                src_port,
                dst_port,
                proto: next,
            });
        }
        let header: [u8; 4] = bytes.load(offset).ok_or(DropReason::Malformed)?;
        let len = match next {
            44 => {
                first_fragment &= u16::from_be_bytes([header[2], header[3]]) & 0xfff8 == 0;
                8
            }
            51 => (header[1] as usize + 2) * 4,
            _ => (header[1] as usize + 1) * 8,
        };
        next = header[0];
        offset += len;
        if !first_fragment {
            return Ok(Packet {
                src_mac,
                src,
                dst,
                src_port: 0,
                dst_port: 0,
                proto: next,
            });
        }
    }
    Err(DropReason::TooManyHeaders)
}

/// Ports of TCP, UDP and SCTP; zero where the packet does not show them (other protocols, later fragments, short ones).
#[inline(always)]
fn ports<B: Bytes + ?Sized>(
    bytes: &B,
    proto: u8,
    offset: usize,
    first_fragment: bool,
) -> (u16, u16) {
    if !first_fragment || !matches!(proto, proto::TCP | proto::UDP | proto::SCTP) {
        return (0, 0);
    }
    match bytes.load::<[u8; 4]>(offset) {
        Some(p) => (
            u16::from_be_bytes([p[0], p[1]]),
            u16::from_be_bytes([p[2], p[3]]),
        ),
        None => (0, 0),
    }
}
