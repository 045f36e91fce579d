//! What reaches a pod through the host's network stack.

use super::egress::note_inbound;
use super::{Outcome, Party, Tables, admit, service};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::rows::class;

/// Decides on a packet that the host stack sends to the pod behind interface `ifindex`, and that came to the node by interface
/// `entered`, 0 if a process of the node sends it.
///
/// Its source tells whose it is: a local pod's (the host translated a service address and the sender's own address is
/// intact), the node's or a service's (the node, or an answer whose translation was undone), or an outside one. Behind one of
/// the latter two a local pod may stand, whose source was translated as well.
/// Source addresses of pods are trusted here since `from_pod` has checked them.
#[inline(always)]
pub fn to_pod<T: Tables, O: Outcome>(
    tables: &T,
    packet: &Packet,
    ifindex: u32,
    entered: u32,
    outcome: &O,
) -> O::Done {
    let Some(receiver) = tables.endpoint(&packet.dst) else {
        return outcome.drop(&DropReason::NoSuchPod.into());
    };
    if receiver.ifindex != ifindex {
        return outcome.drop(&DropReason::WrongInterface.into());
    }
    let party = Party::pod(tables, &receiver);
    let (mut class, mut judged) = (POD, true);
    let source = if let Some(sender) = tables.endpoint(&packet.src) {
        service::note(tables, packet, sender.ifindex);
        Party::pod(tables, &sender)
    } else {
        class = tables.prefix(&packet.src).map_or(OUTSIDE, |row| row.class);
        if !matches!(class, OUTSIDE | class::SERVICES) && !class::is_own(class) {
            return outcome.drop(&DropReason::UnexpectedSource.into());
        }
        let sender = Party::behind(tables, entered);
        // The node always reaches its pods, whatever their project's state: kubelet's probes.
        judged = sender.is_some() || !class::is_own(class);
        sender.unwrap_or(Party::HOST)
    };
    if judged && let Err(denial) = admit(source, party) {
        return outcome.drop(&denial);
    }
    // Answers to the gateway are not judged, whoever began.
    if class == OUTSIDE || class == class::NODE {
        note_inbound(tables, party, packet);
    }
    outcome.deliver(&receiver)
}

/// In the place of a class: the address is a local pod's.
const POD: u32 = u32::MAX;
/// In the place of a class: the address is in no prefix.
const OUTSIDE: u32 = 0;
