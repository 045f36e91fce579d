//! ICMP (RFC 792) and ICMPv6 (RFC 4443): what a message asks, and whether a pod may send it.
//!
//! The kernel of whoever receives an ICMP error acts on the packet that it quotes: it lowers the path MTU of the quoted
//! destination, changes the route to it, or fails a connection to it. A host reports errors only of packets that were sent to it,
//! and pods are hosts, not routers.

use super::{Bytes, MORE_FRAGMENTS, Packet, proto};
use crate::addr::Addr;
use crate::reason::DropReason;

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// Errors of ICMP: unreachable, source quench, redirect, time exceeded, parameter problem.
const ERRORS: [u8; 5] = [3, 4, REDIRECT, 11, 12];
const REDIRECT: u8 = 5;
/// All below are errors of ICMPv6 (RFC 4443 section 2.1), known or not.
const INFORMATIONAL_V6: u8 = 128;
/// Router and neighbour solicitation and advertisement (RFC 4861), which no router forwards.
const NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u8> = 133..=136;
const REDIRECT_V6: u8 = 137;

/// Bytes of the header of an error, behind which the quoted packet begins.
const HEADER: usize = 8;

/// Notes whether the message at `offset` asks for an answer, and what keeps a pod from sending it. A function of its own in the
/// programs, whose stack adds to nobody's but the parser's.
#[inline(never)]
pub(super) fn look<B: Bytes + ?Sized>(bytes: &B, offset: usize, packet: &mut Packet) {
    let Some([kind]) = bytes.load::<[u8; 1]>(offset) else {
        return;
    };
    let v4 = packet.proto == proto::ICMP;
    packet.opens = u8::from(kind == if v4 { ECHO_REQUEST } else { ECHO_REQUEST_V6 });
    if packet.unfit != 0 {
        return;
    }
    let error = if v4 {
        ERRORS.contains(&kind)
    } else {
        kind < INFORMATIONAL_V6 || kind == REDIRECT_V6
    };
    let redirect = kind == if v4 { REDIRECT } else { REDIRECT_V6 };
    if !v4 && NEIGHBOUR_DISCOVERY.contains(&kind) {
        packet.unfit = DropReason::LinkLocal as u8;
    } else if error && (redirect || !quotes_receiver(bytes, offset + HEADER, packet)) {
        packet.unfit = DropReason::ForgedIcmpError as u8;
    }
}

/// Whether the packet quoted at `offset` went from the receiver of this one to its sender.
///
/// A fragment may hide what is quoted; an error is short enough for every link (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4).
#[inline(always)]
fn quotes_receiver<B: Bytes + ?Sized>(bytes: &B, offset: usize, packet: &Packet) -> bool {
    if packet.place & MORE_FRAGMENTS != 0 {
        return false;
    }
    let Some([first]) = bytes.load::<[u8; 1]>(offset) else {
        return false;
    };
    if packet.proto == proto::ICMP {
        let Some(quoted) = bytes.load::<[[u8; 4]; 2]>(offset + 12) else {
            return false;
        };
        first >> 4 == 4 && Addr::v4(quoted[0]) == packet.dst && Addr::v4(quoted[1]) == packet.src
    } else {
        let Some(from) = bytes.load::<Addr>(offset + 8) else {
            return false;
        };
        if first >> 4 != 6 || from != packet.dst {
            return false;
        }
        bytes
            .load::<Addr>(offset + 24)
            .is_some_and(|to| to == packet.src)
    }
}
