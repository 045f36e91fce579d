//! Rows of connections whose service address the host translates.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most rows of `SERVED`; the least recently used one gives way, and comes back with the client's next packet.
pub const SERVED_CAPACITY: u32 = 65_536;

/// A connection of a local pod to a pod that it knows by another address: the answers need the host to translate them back.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServedRow {
    /// Interface index of the client's endpoint: the row means nothing to another pod that has the address later.
    pub ifindex: u32,
}
