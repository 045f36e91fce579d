//! Connections of pods, and the share of them that each endpoint has.
//!
//! `FLOWS` is one table for the node, in which each endpoint has a ring of places: a new connection takes the next place, and
//! the connection that had it before gives way. So an endpoint that opens very many connections loses its own older ones and
//! none of others.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::addr::Addr;
use crate::packet::proto;

/// Most rows of `FLOWS` and of `FLOW_PLACES`: the shares of all endpoints ([`share`]), and what endpoints that have just gone
/// leave until it is removed.
pub const FLOWS_CAPACITY: u32 = 262_144;
/// What the shares of all endpoints come to at most: 1,024 connections for each of 250.
const SHARED: u32 = 256_000;
/// Most connections of one endpoint, however few there are.
pub const SHARE_MAX: u32 = 8_192;

/// Connections that each of so many endpoints may have noted: a power of two, so that it changes rarely.
#[must_use]
pub const fn share(endpoints: u32) -> u32 {
    let fits = match SHARED.checked_div(endpoints) {
        Some(0) => 1, // there are more endpoints than any node has
        Some(fits) if fits < SHARE_MAX => fits,
        _ => SHARE_MAX,
    };
    1 << fits.ilog2()
}

/// A connection of a pod, from its side: key of `FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowKey {
    /// The pod's address.
    pub pod: Addr,
    /// The other one.
    pub remote: Addr,
    /// The pod's port, host byte order; 0 where there is none.
    pub pod_port: u16,
    /// The other one.
    pub remote_port: u16,
    /// IP protocol.
    pub proto: u8,
    /// 1 for the fragments of one packet, whose identification stands in the place of the ports; else 0.
    pub fragments: u8,
    /// 1 for a connection to a pod that the host translates ([`origin::TRANSLATED`]), 0 for one between the pod and the outside.
    pub translated: u8,
    /// Zero.
    pub reserved: u8,
}

/// How long a connection counts as open without a packet: long for TCP, whose end is not watched; elsewhere longer than the
/// host's connection tracking keeps it, so that what the host still forwards is not taken for a new connection. Nanoseconds.
const TCP_IDLE: u64 = 24 * 3600 * 1_000_000_000;
const OTHER_IDLE: u64 = 600 * 1_000_000_000;
/// How long the fragments of a packet are awaited, as by whoever puts them together (`net.ipv4.ipfrag_time`).
const FRAGMENTS_IDLE: u64 = 30 * 1_000_000_000;

impl FlowKey {
    /// Whether the connection counts as over.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self, row: &FlowRow, now: u64) -> bool {
        let idle = if self.fragments != 0 {
            FRAGMENTS_IDLE
        } else if self.proto == proto::TCP {
            TCP_IDLE
        } else {
            OTHER_IDLE
        };
        now.saturating_sub(row.seen) >= idle
    }
}

/// How a connection began, and where it stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowRow {
    /// Number of the name by which it was allowed, 0 if by none: it stays allowed while the policy allows the name.
    pub name: u64,
    /// Last packet, nanoseconds of the monotonic clock; of what the host translates to the second.
    pub seen: u64,
    /// One of [`origin`].
    pub kind: u32,
    /// Interface index of the pod's endpoint: the row means nothing to another pod that has the address later.
    pub ifindex: u32,
    /// Its place among those of the endpoint; what notes it gives it one.
    pub place: u32,
    /// Zero.
    pub reserved: u32,
}

impl FlowRow {
    /// A row that has no place yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(kind: u32, ifindex: u32, name: u64, seen: u64) -> Self {
        Self {
            name,
            seen,
            kind,
            ifindex,
            place: 0,
            reserved: 0,
        }
    }
}

/// Values of [`FlowRow::kind`].
pub mod origin {
    /// The pod opened it.
    pub const OUT: u32 = 1;
    /// The outside opened it: the pod's packets are answers, which no rule concerns.
    pub const IN: u32 = 2;
    /// No connection: the first fragment of the packet was let go, and the others follow it.
    pub const FRAGMENTS: u32 = 3;
    /// The pod opened it to another pod, which it knows by a service address: the answers need the host to translate them back.
    pub const TRANSLATED: u32 = 4;
}

/// A place of an endpoint: key of `FLOW_PLACES`, whose row is the key of the connection that has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowPlace {
    /// Interface index of the endpoint.
    pub ifindex: u32,
    /// 0 .. [`NodeRow::flow_share`](super::NodeRow::flow_share).
    pub place: u32,
}

/// Connections that one packet can add: its own, and that of its fragments.
pub const NEW_FLOWS: usize = 2;

/// What the packet of the moment adds. Empty between two packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NewFlows {
    /// The connections.
    pub keys: [FlowKey; NEW_FLOWS],
    /// Their rows, without a place.
    pub rows: [FlowRow; NEW_FLOWS],
    /// How many.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
}

/// How an endpoint uses its share. Without this row nothing is noted for it.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowUseRow {
    /// Places given out, counted on and on.
    pub next: u64,
    /// Connections that gave way to new ones of the endpoint though they were in use.
    pub evicted: u64,
    /// Connections that found no room in the table.
    pub refused: u64,
}

/// How long after its last packet a connection counts as in use and keeps its place, if another one can be found. Nanoseconds.
pub const IN_USE: u64 = 30_000_000_000;

#[cfg(test)]
mod tests {
    use super::{FLOWS_CAPACITY, SHARE_MAX, share};

    #[test]
    fn shares_fit_the_table_with_room_for_what_has_just_gone() {
        for endpoints in 1..=FLOWS_CAPACITY {
            let all = share(endpoints) * endpoints;
            assert!(all <= FLOWS_CAPACITY, "{endpoints}");
            assert!(
                all > FLOWS_CAPACITY / 3 || share(endpoints) == SHARE_MAX,
                "{endpoints}"
            );
        }
        assert_eq!((share(0), share(31), share(32)), (8_192, 8_192, 4_096));
        assert_eq!((share(110), share(250), share(u32::MAX)), (2_048, 1_024, 1));
    }
}
