//! The packet decisions: plain functions over a parsed packet and the tables.
//!
//! One function per program. `ebpf/programs` implements [`Tables`] with eBPF maps, `weft-core` with ordinary ones.

mod admit;
mod after_dnat;
mod connection;
mod egress;
pub mod fragments;
mod from_overlay;
mod from_pod;
mod service;
mod to_overlay;
mod to_pod;

pub use admit::admit;
pub use egress::{Judgement, judge};

/// The decisions, with what becomes of the packet as a parameter: the programs act at once.
pub mod with {
    pub use super::after_dnat::after_dnat;
    pub use super::egress::{CLOSED, by_prefix, judged, leave};
    pub use super::from_overlay::from_overlay;
    pub use super::from_pod::from_pod;
    pub use super::to_overlay::to_overlay;
    pub use super::to_pod::to_pod;
}

use crate::addr::Addr;
use crate::packet::{Packet, proto};
use crate::reason::DropReason;
use crate::rows::egress::{
    HitKey, LearnedKey, LearnedRow, NO_POLICY, RuleKey, RuleRow, SearchKey, SearchRow,
};
use crate::rows::flow::{FlowKey, FlowRow};
use crate::rows::{
    EndpointRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, SubnetRow, VNID_CLOSED,
};

/// What the decisions look up.
pub trait Tables {
    /// UDP port of the overlay, host byte order.
    fn vxlan_port(&self) -> u16;
    /// Longest prefix that contains the address.
    fn prefix(&self, addr: &Addr) -> Option<PrefixRow>;
    /// Subnet by its network address.
    fn subnet(&self, network: &Addr) -> Option<SubnetRow>;
    /// Overlay peer by its underlay address.
    fn peer(&self, addr: &Addr) -> Option<PeerRow>;
    /// Local endpoint by one of its addresses.
    fn endpoint(&self, addr: &Addr) -> Option<EndpointRow>;
    /// Project of the local endpoint behind an interface.
    fn sender(&self, ifindex: u32) -> Option<ProjectKey>;
    /// A project; `None` if it is not known.
    fn project(&self, project: &ProjectKey) -> Option<ProjectRow>;
    /// Rule of an egress policy by prefix or name.
    fn rule(&self, key: &RuleKey) -> Option<RuleRow>;
    /// Rule of an egress policy by an address that the agent resolved.
    fn resolved(&self, key: &RuleKey) -> Option<RuleRow>;
    /// How to search the prefixes of an egress policy.
    fn search(&self, key: &SearchKey) -> Option<&SearchRow>;
    /// Port class of an egress policy; `ANY_PORT` if no rule with ports concerns the packet.
    fn port_class(&self, policy: u64, proto: u8, port: u16) -> u32;
    /// Names of an address that a project's pods were told; the data path notes that the address is in use.
    fn learned(&self, key: &LearnedKey, now: u64) -> Option<&LearnedRow>;
    /// A connection of a local pod.
    fn flow(&self, key: &FlowKey) -> Option<FlowRow>;
    /// Notes a connection: a new one when the packet has been decided on. `explain` notes nothing.
    fn note_flow(&self, key: &FlowKey, row: FlowRow);
    /// Forgets a connection, at once. `explain` forgets nothing.
    fn forget_flow(&self, key: &FlowKey);
    /// Puts the rule of a key, if there is one, into the place of `best`: 1 if there is one, else 0. A number, with which the search
    /// goes on without a branch: its steps would double what the verifier has to follow.
    fn better(&self, key: &RuleKey, best: &mut RuleRow) -> u32 {
        self.rule(key).map_or(0, |found| {
            *best = found;
            1
        })
    }
    /// Calls [`with::judged`]; the programs have it verified once.
    fn judged(&self, party: &Party, packet: &Packet) -> u32
    where
        Self: Sized,
    {
        with::judged(self, party, packet)
    }
    /// Calls [`with::by_prefix`], likewise.
    fn by_prefix(&self, policy: u64, class: u32, addr: &Addr, rule: &mut RuleRow) -> bool
    where
        Self: Sized,
    {
        with::by_prefix(self, policy, class, addr, rule)
    }
    /// Counts a packet of so many bytes that an egress rule met. What only asks counts nothing.
    fn count_hit(&self, key: &HitKey, bytes: u32, now: u64);
    /// Nanoseconds of the monotonic clock.
    fn now(&self) -> u64;
}

/// What is done with a packet once it is decided.
///
/// A decision calls exactly one of these, last, and returns what it returns. The programs carry the outcome out there and then: an
/// enum that is returned through many branches leaves the compiler registers that some branch never wrote, which the verifier
/// refuses to see read.
pub trait Outcome {
    /// What the decision returns.
    type Done;
    /// Into the pod behind this row.
    fn deliver(&self, endpoint: &EndpointRow) -> Self::Done;
    /// Through the overlay to the node at this underlay address, with the sender's VNID.
    fn tunnel(&self, node: Addr, vnid: u32) -> Self::Done;
    /// On to the host's network stack (from a pod or the overlay), or on to the device (towards a pod).
    fn pass(&self) -> Self::Done;
    /// Out of the cluster, if the egress firewall lets it go: it decides by [`with::leave`].
    fn leave(&self, party: &Party) -> Self::Done;
    /// Nowhere.
    fn drop(&self, denial: &Denial) -> Self::Done;
}

/// Outcome of a packet, as a value.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Into the pod behind this row.
    Deliver(EndpointRow),
    /// Through the overlay.
    Tunnel {
        /// Underlay address of the receiving node.
        node: Addr,
        /// Sender's VNID.
        vnid: u32,
    },
    /// On to the host's network stack (from a pod or the overlay), or on to the device (towards a pod).
    Pass,
    /// Dropped.
    Drop(Denial),
}

/// An [`Outcome`] that only tells.
struct Tell<'a, T> {
    tables: &'a T,
    packet: &'a Packet,
}

impl<T: Tables> Outcome for Tell<'_, T> {
    type Done = Verdict;

    fn deliver(&self, endpoint: &EndpointRow) -> Verdict {
        Verdict::Deliver(*endpoint)
    }

    fn tunnel(&self, node: Addr, vnid: u32) -> Verdict {
        Verdict::Tunnel { node, vnid }
    }

    fn pass(&self) -> Verdict {
        Verdict::Pass
    }

    fn leave(&self, party: &Party) -> Verdict {
        with::leave(self.tables, self.packet, party, self)
    }

    fn drop(&self, denial: &Denial) -> Verdict {
        Verdict::Drop(*denial)
    }
}

/// What becomes of a packet that came out of the pod behind interface `ifindex`.
pub fn from_pod<T: Tables>(tables: &T, packet: &Packet, ifindex: u32) -> Verdict {
    with::from_pod(tables, packet, ifindex, &Tell { tables, packet })
}

/// What becomes of a packet that the host stack sends to the pod behind interface `ifindex`, and that came to the node by
/// interface `entered` (0: a process of the node sends it).
pub fn to_pod<T: Tables>(tables: &T, packet: &Packet, ifindex: u32, entered: u32) -> Verdict {
    with::to_pod(tables, packet, ifindex, entered, &Tell { tables, packet })
}

/// What becomes of a packet that came through the overlay from the node at `peer` with VXLAN network `vnid`.
pub fn from_overlay<T: Tables>(tables: &T, packet: &Packet, peer: Addr, vnid: u32) -> Verdict {
    with::from_overlay(tables, packet, peer, vnid, &Tell { tables, packet })
}

/// What becomes of a packet that the host routed to the overlay device; `entered` as in [`to_pod`].
pub fn to_overlay<T: Tables>(tables: &T, packet: &Packet, entered: u32) -> Verdict {
    with::to_overlay(tables, packet, entered, &Tell { tables, packet })
}

/// What becomes of a packet whose destination the host has translated, on its way out of the node or to the node itself.
pub fn after_dnat<T: Tables>(tables: &T, packet: &Packet) -> Verdict {
    with::after_dnat(tables, packet, &Tell { tables, packet })
}

/// Why a packet was dropped, and between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: DropReason,
    /// Sender's project; zero if it is not a local pod.
    pub src_project: ProjectKey,
    /// Receiver's project; zero if it is not a local pod.
    pub dst_project: ProjectKey,
    /// Sender's VNID, `VNID_CLOSED` if not known.
    pub src_vnid: u32,
    /// Receiver's VNID, `VNID_CLOSED` if not known.
    pub dst_vnid: u32,
    /// Place of the egress rule that denied it, counted from 1; 0 if no rule did.
    pub rule: u32,
}

impl From<DropReason> for Denial {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self {
            reason,
            src_project: ProjectKey(0),
            dst_project: ProjectKey(0),
            src_vnid: VNID_CLOSED,
            dst_vnid: VNID_CLOSED,
            rule: 0,
        }
    }
}

/// In the place of an interface: some pod's whose index does not fit where it is noted (16 bits).
pub const ENTERED_UNKNOWN: u32 = 0xffff;

/// A party of a packet as admission and the egress firewall see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Project, zero if it is not a local pod.
    pub project: ProjectKey,
    /// Number of the project's egress policy.
    pub policy: u64,
    /// VNID, `VNID_CLOSED` if its project is closed.
    pub vnid: u32,
    /// Flags of the project.
    pub flags: u32,
    /// Interface index of the endpoint, 0 if it is not a local pod.
    pub ifindex: u32,
}

impl Party {
    /// The node itself, another node, or something outside the cluster: network 0.
    pub const HOST: Self = Self::remote(0);

    /// A local pod.
    #[inline(always)]
    pub fn pod<T: Tables>(tables: &T, endpoint: &EndpointRow) -> Self {
        Self::of(tables, endpoint.project, endpoint.ifindex)
    }

    /// The local pod whose packet the host has given another source: whatever is translated, the packet keeps the interface by
    /// which it came to the node (`skb_iif`). No pod writes that, and no rule of the host. What came from a pod of which no more
    /// is known ([`ENTERED_UNKNOWN`]) is a closed project's.
    #[inline(always)]
    pub fn behind<T: Tables>(tables: &T, entered: u32) -> Option<Self> {
        if entered == 0 {
            return None; // a process of the node
        }
        match tables.sender(entered) {
            Some(project) => Some(Self::of(tables, project, entered)),
            None if entered == ENTERED_UNKNOWN => Some(Self::remote(VNID_CLOSED)),
            None => None,
        }
    }

    #[inline(always)]
    fn of<T: Tables>(tables: &T, project: ProjectKey, ifindex: u32) -> Self {
        let row = tables.project(&project).unwrap_or(ProjectRow {
            policy: NO_POLICY,
            vnid: VNID_CLOSED,
            flags: 0,
        });
        Self {
            project,
            policy: row.policy,
            vnid: row.vnid,
            flags: row.flags,
            ifindex,
        }
    }

    /// A sender behind the overlay.
    #[inline(always)]
    pub const fn remote(vnid: u32) -> Self {
        Self {
            project: ProjectKey(0),
            policy: NO_POLICY,
            vnid,
            flags: 0,
            ifindex: 0,
        }
    }
}

/// What a pod may always ask its node's own addresses.
#[inline(always)]
fn is_dns(packet: &Packet) -> bool {
    matches!(packet.proto, proto::TCP | proto::UDP) && packet.dst_port == 53
}

/// Where a pod address lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// This node's own subnet.
    Here,
    /// Another node's, by its underlay address.
    At(Addr),
    /// Nobody's.
    Nowhere,
}

/// Finds the node of a pod address whose prefix row is `row`.
#[inline(always)]
fn home<T: Tables>(tables: &T, row: &PrefixRow, addr: &Addr) -> Home {
    for len in row.subnet_lens {
        let len = u32::from(len);
        if len == 0 {
            break;
        }
        match tables.subnet(&addr.masked(len)) {
            Some(subnet) if subnet.len != len => {} // begins at the same address, and is another
            Some(SubnetRow {
                node: Addr::UNSPECIFIED,
                ..
            }) => return Home::Here,
            Some(SubnetRow { node, .. }) => return Home::At(node),
            None => {}
        }
    }
    Home::Nowhere
}
