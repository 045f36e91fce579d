//! Where in a packet a message lies.

use crate::packet::{Bytes, Payload, proto};

const UDP: u32 = proto::UDP as u32;
const TCP: u32 = proto::TCP as u32;
/// Bytes of UDP's header.
const UDP_HEADER: u32 = 8;

/// A message, or a part of one, in a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Carried {
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// Where the message begins.
    pub offset: u32,
    /// Its bytes as the headers tell.
    pub len: u32,
    /// One of [`part`].
    pub part: u32,
}

/// Values of [`Carried::part`].
pub mod part {
    /// The whole message.
    pub const WHOLE: u32 = 0;
    /// The first fragment of a datagram.
    pub const FRAGMENT: u32 = 1;
    /// A segment of a TCP stream. That a message begins where the segment does is a guess: the receiver's window decides
    /// where segments are cut, so a record's own bytes may look like a message.
    pub const STREAM: u32 = 2;
}

/// Finds the message in a packet whose ports say that it carries one; `None` if it carries nothing, like a TCP handshake.
///
/// On TCP a message stands behind its length (RFC 1035 section 4.2.2).
#[inline(always)]
pub fn find<B: Bytes + ?Sized>(bytes: &B, payload: &Payload) -> Option<Carried> {
    let start = payload.offset;
    let there = payload.end.checked_sub(start)?;
    let ports: [u8; 4] = bytes.load(start as usize)?;
    let mut carried = Carried {
        src_port: u16::from_be_bytes([ports[0], ports[1]]),
        dst_port: u16::from_be_bytes([ports[2], ports[3]]),
        ..Carried::default()
    };
    match payload.proto {
        UDP => {
            let [a, b] = bytes.load::<[u8; 2]>(start as usize + 4)?;
            let len = u32::from(u16::from_be_bytes([a, b]));
            carried.offset = start + UDP_HEADER;
            carried.part = if payload.more == 0 {
                part::WHOLE
            } else {
                part::FRAGMENT
            };
            // Of a whole datagram that is longer than its packet nothing reaches a socket.
            let len = match payload.more {
                0 if len > there => return None,
                0 => len,
                _ => there,
            };
            carried.len = len.checked_sub(UDP_HEADER)?;
        }
        TCP => {
            let [words] = bytes.load::<[u8; 1]>(start as usize + 12)?;
            let header = u32::from(words >> 4) * 4;
            // Behind the message's own length.
            let there = there.checked_sub(header + 2)?;
            carried.offset = start + header + 2;
            carried.len = there;
            carried.part = part::STREAM;
        }
        _ => return None,
    }
    (carried.len != 0).then_some(carried)
}
