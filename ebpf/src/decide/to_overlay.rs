//! What the host's network stack sends to pods of other nodes.

use super::{Home, Outcome, Party, Tables, admit, home, service};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::rows::class;

/// Decides on a packet that the host routed to the overlay device: its own, or a local pod's whose service address it
/// has translated, perhaps with the sender's own. `entered` is the interface by which it came to the node, 0 if by none.
#[inline(always)]
pub fn to_overlay<T: Tables, O: Outcome>(
    tables: &T,
    packet: &Packet,
    entered: u32,
    outcome: &O,
) -> O::Done {
    let source = match tables.endpoint(&packet.src) {
        Some(sender) => {
            service::note(tables, packet, sender.ifindex);
            Party::pod(tables, &sender)
        }
        None => match tables.prefix(&packet.src) {
            Some(row) if class::is_own(row.class) => {
                Party::behind(tables, entered).unwrap_or(Party::HOST)
            }
            // The receiving node would refuse any other source as not ours.
            _ => return outcome.drop(&DropReason::ForeignSource.into()),
        },
    };
    if let Err(denial) = admit(source, Party::HOST) {
        return outcome.drop(&denial);
    }
    let Some(row) = tables.prefix(&packet.dst) else {
        return outcome.drop(&DropReason::NoSuchNode.into());
    };
    if row.class != class::PODS {
        return outcome.drop(&DropReason::NoSuchNode.into());
    }
    match home(tables, &row, &packet.dst) {
        Home::At(node) => outcome.tunnel(node, source.vnid),
        Home::Here => outcome.drop(&DropReason::NoSuchPod.into()),
        Home::Nowhere => outcome.drop(&DropReason::NoSuchNode.into()),
    }
}
