//! What another node sends.

use super::egress::note_inbound;
use super::{Home, Outcome, Party, Tables, admit, home, service};
use crate::addr::Addr;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::rows::class;

/// Decides on a packet that came through the overlay from the node at `peer` with VXLAN network `vnid`.
///
/// The outer source must be a known node and the inner source must belong to it; then `vnid` is the sender's.
#[inline(always)]
pub fn from_overlay<T: Tables, O: Outcome>(
    tables: &T,
    packet: &Packet,
    peer: Addr,
    vnid: u32,
    outcome: &O,
) -> O::Done {
    if tables.peer(&peer).is_none() {
        return outcome.drop(&DropReason::UnknownPeer.into());
    }
    // A node sends from its own underlay address when one of its processes is bound to it.
    let from_node = packet.src == peer;
    if !from_node {
        let from_peer = match tables.prefix(&packet.src) {
            Some(row) if row.class == class::PODS => {
                home(tables, &row, &packet.src) == Home::At(peer)
            }
            _ => false,
        };
        if !from_peer {
            return outcome.drop(&DropReason::ForeignSource.into());
        }
    }
    if let Some(receiver) = tables.endpoint(&packet.dst) {
        let party = Party::pod(tables, &receiver);
        if from_node {
            note_inbound(tables, party, packet);
        }
        return match admit(Party::remote(vnid), party) {
            Ok(()) if service::is_answer(tables, packet, receiver.ifindex) => outcome.pass(),
            Ok(()) => outcome.deliver(&receiver),
            Err(denial) => outcome.drop(&denial),
        };
    }
    match tables.prefix(&packet.dst) {
        Some(row) if class::is_own(row.class) => outcome.pass(),
        Some(row) if row.class == class::PODS && home(tables, &row, &packet.dst) == Home::Here => {
            outcome.drop(&DropReason::NoSuchPod.into())
        }
        _ => outcome.drop(&DropReason::NotForThisNode.into()),
    }
}
