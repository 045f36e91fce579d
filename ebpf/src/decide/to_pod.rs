//! What reaches a pod through the host's network stack.

use super::egress::note_inbound;
use super::{Party, Tables, Verdict, admit};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::rows::class;

/// Decides on a packet that the host stack sends to the pod behind interface `ifindex`.
///
/// Its source tells whose it is: a local pod's (the host translated a service address and the sender's own address is
/// intact), the node's or a service's (the node, or an answer whose translation was undone), or an outside one.
/// Source addresses of pods are trusted here since `from_pod` has checked them.
#[inline(always)]
pub fn to_pod<T: Tables>(tables: &T, packet: &Packet, ifindex: u32) -> Verdict {
    let Some(receiver) = tables.endpoint(&packet.dst) else {
        return DropReason::NoSuchPod.into();
    };
    if receiver.ifindex != ifindex {
        return DropReason::WrongInterface.into();
    }
    let party = Party::pod(tables, &receiver);
    let source = match tables.endpoint(&packet.src) {
        Some(sender) => Party::pod(tables, &sender),
        None => match tables.prefix(&packet.src) {
            None => {
                note_inbound(tables, party, packet);
                Party::HOST
            }
            // The node always reaches its pods, whatever their project's state: kubelet's probes.
            Some(row) if class::is_own(row.class) => {
                note_inbound(tables, party, packet);
                return Verdict::Deliver(receiver);
            }
            Some(row) if row.class == class::SERVICES => Party::HOST,
            Some(_) => return DropReason::UnexpectedSource.into(),
        },
    };
    match admit(source, party) {
        Ok(()) => Verdict::Deliver(receiver),
        Err(denial) => Verdict::Drop(denial),
    }
}
