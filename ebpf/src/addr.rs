//! Addresses as keys: 16 bytes in network order, IPv4 mapped into `::ffff:0:0/96`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv4 (mapped) or IPv6 address in network byte order.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct Addr(pub [u8; 16]);

/// Bits before the IPv4 part of a mapped address.
pub const V4_PREFIX_BITS: u8 = 96;

impl Addr {
    /// `::`
    pub const UNSPECIFIED: Self = Self([0; 16]);

    /// The mapped form of an IPv4 address given as its four bytes.
    #[inline(always)]
    pub const fn v4(b: [u8; 4]) -> Self {
        Self([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3],
        ])
    }

    /// The four bytes of a mapped IPv4 address.
    #[inline(always)]
    pub const fn as_v4(&self) -> Option<[u8; 4]> {
        match self.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([a, b, c, d]),
            _ => None,
        }
    }

    /// 224.0.0.0/4 or ff00::/8.
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        match self.as_v4() {
            Some([a, ..]) => a & 0xf0 == 0xe0,
            None => self.0[0] == 0xff,
        }
    }

    /// 127.0.0.0/8, 0.0.0.0/8, ::1 or `::`: addresses that each host has for itself.
    #[inline(always)]
    pub const fn is_own_host(&self) -> bool {
        match self.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, _, _, _] => a == 127 || a == 0,
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last] => last <= 1,
            _ => false,
        }
    }

    /// ff02::/16: neighbour discovery, multicast listener reports and their like.
    #[inline(always)]
    pub const fn is_link_local_multicast_v6(&self) -> bool {
        self.0[0] == 0xff && self.0[1] & 0x0f == 2
    }

    /// The address with all but the first `bits` (0..=128, counted on the 128-bit form) cleared.
    #[inline(always)]
    #[must_use]
    pub const fn masked(&self, bits: u32) -> Self {
        // Two 64-bit halves: BPF has no 128-bit shift.
        let b = &self.0;
        let high = u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
        let low = u64::from_be_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]);
        let (high, low) = match bits {
            0 => (0, 0),
            1..=63 => (high & (u64::MAX << (64 - bits)), 0),
            64 => (high, 0),
            65..=127 => (high, low & (u64::MAX << (128 - bits))),
            _ => (high, low),
        };
        let h = high.to_be_bytes();
        let l = low.to_be_bytes();
        Self([
            h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], l[0], l[1], l[2], l[3], l[4], l[5],
            l[6], l[7],
        ])
    }

    /// The address as the standard library's type; a mapped one comes back as IPv4.
    pub fn to_ip(self) -> IpAddr {
        match self.as_v4() {
            Some(b) => IpAddr::V4(Ipv4Addr::from(b)),
            None => IpAddr::V6(Ipv6Addr::from(self.0)),
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

/// A prefix length of the family of `ip` on the 128-bit form (an IPv4 /24 is /120).
pub const fn mapped_bits(ip: &IpAddr, bits: u8) -> u8 {
    match ip {
        IpAddr::V4(_) => V4_PREFIX_BITS + bits,
        IpAddr::V6(_) => bits,
    }
}
