//! What reaches a pod through the host's network stack.

use super::egress::note_inbound;
use super::{Outcome, Party, Tables, admit, service};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::rows::class;

/// Decides on a packet that the host stack sends to the pod behind interface `ifindex`.
///
/// Its source tells whose it is: a local pod's (the host translated a service address and the sender's own address is
/// intact), the node's or a service's (the node, or an answer whose translation was undone), or an outside one.
/// Source addresses of pods are trusted here since `from_pod` has checked them.
#[inline(always)]
pub fn to_pod<T: Tables, O: Outcome>(
    tables: &T,
    packet: &Packet,
    ifindex: u32,
    outcome: &O,
) -> O::Done {
    let Some(receiver) = tables.endpoint(&packet.dst) else {
        return outcome.drop(&DropReason::NoSuchPod.into());
    };
    if receiver.ifindex != ifindex {
        return outcome.drop(&DropReason::WrongInterface.into());
    }
    let party = Party::pod(tables, &receiver);
    let source = match tables.endpoint(&packet.src) {
        Some(sender) => {
            service::note(tables, packet, sender.ifindex);
            Party::pod(tables, &sender)
        }
        None => match tables.prefix(&packet.src) {
            None => {
                note_inbound(tables, party, packet);
                Party::HOST
            }
            // The node always reaches its pods, whatever their project's state: kubelet's probes.
            Some(row) if class::is_own(row.class) => {
                // Answers to the gateway are not judged, whoever began.
                if row.class == class::NODE {
                    note_inbound(tables, party, packet);
                }
                return outcome.deliver(&receiver);
            }
            Some(row) if row.class == class::SERVICES => Party::HOST,
            Some(_) => return outcome.drop(&DropReason::UnexpectedSource.into()),
        },
    };
    match admit(source, party) {
        Ok(()) => outcome.deliver(&receiver),
        Err(denial) => outcome.drop(&denial),
    }
}
