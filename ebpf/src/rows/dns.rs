//! Keys and rows of what is learned from the DNS answers that pods receive.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ProjectKey;
use crate::addr::Addr;

/// Most rows of `NAMES` and `TRUSTED`.
pub const NAMES_CAPACITY: u32 = 65_536;
/// Most rows of `QUERIES`: those of 1,024 addresses of pods that fill all their places.
pub const QUERIES_CAPACITY: u32 = 1_024 * QUERIES_OF_POD;
/// Most rows of `LEARNED` and of `RING`.
pub const LEARNED_CAPACITY: u32 = 262_144;
/// Bytes of the `NAME_EVENTS` ring.
pub const NAME_EVENTS_BYTES: u32 = 256 * 1024;

/// Bytes of a name in a key. A name has at most 255 on the wire (RFC 1035 section 2.3.4).
pub const NAME_BYTES: usize = 256;

/// A name as on the wire: labels behind their lengths, the root's zero last; letters in lower case, zeros behind.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct NameKey(pub [u8; NAME_BYTES]);

/// Numbers of the rules' names that a name stands for.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct NameRow {
    /// The name itself; 0 if no rule names it.
    pub exact: u64,
    /// Every name below it (`*.NAME`); 0 if no rule names them.
    pub below: u64,
}

/// Questions of one pod's address that are remembered at once.
pub const QUERIES_OF_POD: u32 = 64;

/// A place for a query that a pod sent to a trusted name server, over UDP. A pod has so many places and no more, so that its
/// questions push out none of others.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct QueryKey {
    /// The pod's address.
    pub pod: Addr,
    /// 0 .. [`QUERIES_OF_POD`], by [`Query::slot`].
    pub slot: u32,
}

/// What an answer must fit.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Query {
    /// The server as the pod addressed it: a service's address where one stands before the servers. Some resolvers ask all
    /// their servers at once, with one ID from one port.
    pub server: Addr,
    /// Hash of the name in lower case. Mixed case protects a resolver from strangers; the pod, which chose it, may be their
    /// accomplice.
    pub name: u64,
    /// The pod's port, host byte order.
    pub port: u16,
    /// The message's ID, host byte order.
    pub id: u16,
    /// Zero.
    pub reserved: u32,
}

impl Query {
    /// Its place among those of its pod. One that is taken is taken over: what is forgotten the agent resolves.
    #[inline(always)]
    pub const fn slot(&self) -> u32 {
        let [.., a, b, c, d] = self.server.0;
        let server = u32::from_be_bytes([a, b, c, d]);
        let mixed = (self.port as u32 ^ (self.id as u32) << 16 ^ server).wrapping_mul(0x9e37_79b1);
        (mixed >> 16) % QUERIES_OF_POD
    }
}

/// A query and its time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct QueryRow {
    /// The query.
    pub query: Query,
    /// When it was sent, nanoseconds of the monotonic clock.
    pub time: u64,
}

/// A place in the ring of a project's learned addresses: the oldest one not in use gives way.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RingKey {
    /// The project.
    pub project: ProjectKey,
    /// 0 .. [`NodeRow::learned_limit`](super::NodeRow::learned_limit).
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
}

/// How a project's learning goes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct LearningRow {
    /// Addresses learned, new or again.
    pub learned: u64,
    /// Addresses that gave way to new ones, though some name of them was not over.
    pub evicted: u64,
    /// Addresses for which no room was found.
    pub refused: u64,
    /// Answers for watched names that did not count: no such query, another server's, another name's, too late.
    pub distrusted: u64,
    /// Messages that may concern watched names and could not be read whole.
    pub unread: u64,
    /// Events not sent, for want of budget or of room in the ring.
    pub suppressed: u64,
    /// Start of the current window of events, nanoseconds of the monotonic clock.
    pub window_start: u64,
    /// Events sent in the window.
    pub sent: u64,
    /// Next place in the ring of addresses, counted on and on.
    pub next: u64,
}

/// Asks the agent to resolve a name itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NameEvent {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// Whose pod asked.
    pub project: ProjectKey,
    /// The pod's interface.
    pub ifindex: u32,
    /// One of [`why`].
    pub why: u32,
    /// The name that was asked for; zeros if it is not known.
    pub name: NameKey,
}

/// Values of [`NameEvent::why`].
pub mod why {
    /// The answer says that it is cut short.
    pub const TRUNCATED: u32 = 1;
    /// The answer came in fragments.
    pub const FRAGMENTED: u32 = 2;
    /// The query or the answer is on TCP, whose segments prove nothing.
    pub const STREAM: u32 = 3;
    /// More records than are read.
    pub const TOO_MANY: u32 = 4;
    /// The message contradicts itself, or uses forms that are not read.
    pub const UNREADABLE: u32 = 5;
    /// The project has learned as many addresses as it may, all in use.
    pub const FULL: u32 = 6;
    /// No question of the pod for this answer is known.
    pub const UNASKED: u32 = 7;
}
