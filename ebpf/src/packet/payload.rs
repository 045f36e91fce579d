//! What a packet carries, for those who read on behind its headers.

use super::{
    Bytes, ETH_IPV4, ETH_IPV6, ETH_LEN, FRAGMENT_OFFSET, MORE_FRAGMENTS, Walk, proto,
    walk_extensions,
};
use crate::addr::Addr;

const ETH_BYTES: u32 = 14;
const IPV6_BYTES: u32 = 40;

/// Between whom a packet goes, and where its transport header lies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Payload {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Where the transport header begins.
    pub offset: u32,
    /// Where the packet ends by the length in its IP header; the frame may be padded.
    pub end: u32,
    /// IP protocol.
    pub proto: u32,
    /// 1 if fragments follow, else 0.
    pub more: u32,
}

impl Payload {
    /// Finds it in a packet that [`parse`](super::parse) understood; whether it is there, which it is not in later fragments
    /// and in what is malformed. Fills the value in place, as `parse` does.
    #[inline(always)]
    pub fn find<B: Bytes + ?Sized>(&mut self, bytes: &B) -> bool {
        match bytes.load::<[u8; 2]>(12) {
            Some(ETH_IPV4) => self.find_v4(bytes),
            Some(ETH_IPV6) => self.find_v6(bytes),
            _ => false,
        }
    }

    /// A function of its own in the programs, as is the next: of their stack only one's adds to the caller's.
    #[inline(never)]
    fn find_v4<B: Bytes + ?Sized>(&mut self, bytes: &B) -> bool {
        let Some(ip) = bytes.load::<[u8; 20]>(ETH_LEN) else {
            return false;
        };
        let place = u16::from_be_bytes([ip[6], ip[7]]);
        self.src = Addr::v4([ip[12], ip[13], ip[14], ip[15]]);
        self.dst = Addr::v4([ip[16], ip[17], ip[18], ip[19]]);
        self.offset = ETH_BYTES + u32::from(ip[0] & 0x0f) * 4;
        self.end = ETH_BYTES + u32::from(u16::from_be_bytes([ip[2], ip[3]]));
        self.proto = u32::from(ip[9]);
        self.more = u32::from(place & MORE_FRAGMENTS != 0);
        place & FRAGMENT_OFFSET == 0
    }

    #[inline(never)]
    fn find_v6<B: Bytes + ?Sized>(&mut self, bytes: &B) -> bool {
        let Some(ip) = bytes.load::<[u8; 8]>(ETH_LEN) else {
            return false;
        };
        let Some(src) = bytes.load(ETH_LEN + 8) else {
            return false;
        };
        self.src = src;
        let Some(dst) = bytes.load(ETH_LEN + 24) else {
            return false;
        };
        self.dst = dst;
        self.end = ETH_BYTES + IPV6_BYTES + u32::from(u16::from_be_bytes([ip[4], ip[5]]));
        let mut walk = Walk::new(ip[6]);
        if !matches!(walk.next, proto::TCP | proto::UDP)
            && walk_extensions(bytes, &mut walk).is_err()
        {
            return false;
        }
        self.proto = u32::from(walk.next);
        self.more = u32::from(walk.place & MORE_FRAGMENTS != 0);
        self.offset = u32::try_from(walk.offset).unwrap_or(u32::MAX);
        walk.place & FRAGMENT_OFFSET == 0
    }
}
