//! What a pod sends, once the host has translated its destination.

use super::{Denial, Outcome, Party, Tables, admit, is_dns};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::rows::class;

/// Decides on a packet whose destination the host has translated, on its way out of the node or to the node itself.
///
/// `from_pod` let it pass for what the pod asked for, a service mostly. Where it goes no other program sees it, so the egress
/// firewall judges it here, as it would have judged the pod that sends there itself. Where another program sees it, that one
/// judges. Source addresses of pods are trusted, since `from_pod` has checked them.
#[inline(always)]
pub fn after_dnat<T: Tables, O: Outcome>(tables: &T, packet: &Packet, outcome: &O) -> O::Done {
    let Some(sender) = tables.endpoint(&packet.src) else {
        return outcome.pass();
    };
    let party = Party::pod(tables, &sender);
    if let Some(prefix) = tables.prefix(&packet.dst) {
        match prefix.class {
            // What is still for a service nobody has translated so far; it does not leave (the node's firewall).
            class::PODS | class::SERVICES | class::GATEWAY => return outcome.pass(),
            class::NODE if is_dns(packet) => return outcome.pass(),
            class::NODE => {}
            _ => {
                return outcome.drop(&Denial {
                    src_project: party.project,
                    src_vnid: party.vnid,
                    ..Denial::from(DropReason::UnknownClass)
                });
            }
        }
    }
    if let Err(denial) = admit(party, Party::HOST) {
        return outcome.drop(&denial);
    }
    outcome.leave(&party)
}
