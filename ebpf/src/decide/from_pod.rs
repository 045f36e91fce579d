//! What a pod sends.

use super::{Denial, Home, Outcome, Party, Tables, admit, home, is_dns, service};
use crate::packet::{Packet, proto};
use crate::reason::DropReason;
use crate::rows::{EndpointRow, class};

/// Decides on a packet that came out of the pod behind interface `ifindex`.
#[inline(always)]
pub fn from_pod<T: Tables, O: Outcome>(
    tables: &T,
    packet: &Packet,
    ifindex: u32,
    outcome: &O,
) -> O::Done {
    let sender = match sender(tables, packet, ifindex) {
        Ok(sender) => sender,
        Err(denial) => return outcome.drop(&denial),
    };
    let party = Party::pod(tables, &sender);
    let denied = |reason| {
        outcome.drop(&Denial {
            src_project: party.project,
            src_vnid: party.vnid,
            ..Denial::from(reason)
        })
    };

    // Routes and neighbours of others are none of a pod's business, on whichever way the packet would go.
    if let Some(reason) = packet.unfit() {
        return denied(reason);
    }
    // A pod's packet to the overlay port would leave with the node's address and pass for the node's own.
    // Port 0 is none: on either side it means that it is not known.
    if packet.proto == proto::UDP && packet.dst_port != 0 && packet.dst_port == tables.vxlan_port()
    {
        return denied(DropReason::ForgedOverlay);
    }
    if let Some(receiver) = tables.endpoint(&packet.dst) {
        return match admit(party, Party::pod(tables, &receiver)) {
            Ok(()) if service::is_answer(tables, packet, receiver.ifindex) => outcome.pass(),
            Ok(()) => {
                service::direct(tables, packet);
                outcome.deliver(&receiver)
            }
            Err(denial) => outcome.drop(&denial),
        };
    }
    if packet.dst.is_multicast() {
        return denied(DropReason::MulticastDisabled);
    }
    // With route_localnet the node takes them for its own, whoever sends them.
    if packet.dst.is_own_host() {
        return denied(DropReason::Loopback);
    }
    if let Some(prefix) = tables.prefix(&packet.dst) {
        match prefix.class {
            class::PODS => {
                return match home(tables, &prefix, &packet.dst) {
                    Home::Here => denied(DropReason::NoSuchPod),
                    Home::Nowhere => denied(DropReason::NoSuchNode),
                    // Admission is the receiving node's: only it knows the receiver's project. A closed sender stops here.
                    Home::At(node) => match admit(party, Party::HOST) {
                        Ok(()) => {
                            service::direct(tables, packet);
                            outcome.tunnel(node, party.vnid)
                        }
                        Err(denial) => outcome.drop(&denial),
                    },
                };
            }
            // Service hops are free, as the endpoint is judged once the host has translated the address; the node's own
            // addresses in the pod network are open to all its pods, and so is its name server.
            class::SERVICES | class::GATEWAY => return outcome.pass(),
            class::NODE if is_dns(packet) => return outcome.pass(),
            class::NODE => {}
            _ => return denied(DropReason::UnknownClass),
        }
    }
    // What the egress firewall judges: the host stack routes it, and translates its source if it leaves the node.
    if let Err(denial) = admit(party, Party::HOST) {
        return outcome.drop(&denial);
    }
    outcome.leave(&party)
}

/// The endpoint that may send from this address, over this interface, with this MAC address.
#[inline(always)]
fn sender<T: Tables>(tables: &T, packet: &Packet, ifindex: u32) -> Result<EndpointRow, Denial> {
    match tables.endpoint(&packet.src) {
        Some(row) if row.ifindex != ifindex => Err(DropReason::SpoofedAddress.into()),
        Some(row) if row.mac != packet.src_mac => Err(Denial {
            src_project: row.project,
            ..DropReason::SpoofedMac.into()
        }),
        Some(row) => Ok(row),
        None => Err(DropReason::SpoofedAddress.into()),
    }
}
