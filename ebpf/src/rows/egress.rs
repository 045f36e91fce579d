//! Keys and rows of the egress firewall.
//!
//! A policy is a set of rows under its number, which is made from its content: they are written first, then the
//! one write of a project's row puts all of them in force, then those of the policy before are removed. Rows of a policy
//! that a project points at never change.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ProjectKey;
use crate::addr::Addr;
use crate::tables::SetKey;

/// Most rows of `RULES`: a prefix costs one row and, as rules nest, up to five signposts of the search.
pub const RULES_CAPACITY: u32 = 1_048_576;
/// Most rows of `RESOLVED`.
pub const RESOLVED_CAPACITY: u32 = 262_144;
/// Most rows of `PORTS`.
pub const PORTS_CAPACITY: u32 = 131_072;
/// Most rows of `HITS`.
pub const HITS_CAPACITY: u32 = 262_144;

/// [`ProjectRow::policy`](super::ProjectRow::policy) of a project without an egress policy: everything is allowed.
pub const NO_POLICY: u64 = 0;
/// [`ProjectRow::policy`](super::ProjectRow::policy) of a project all of whose external traffic is dropped.
pub const POLICY_CLOSED: u64 = u64::MAX;

/// Bits of [`ProjectRow::flags`](super::ProjectRow::flags).
pub mod project_flag {
    /// Some rule of the policy names ports: look the packet's class up in `PORTS`.
    pub const PORTS: u32 = 1;
    /// Some rule of the policy is by DNS name: look at addresses that were resolved and learned.
    pub const NAMES: u32 = 2;
}

/// Class of the rules without ports, and of the packets that no rule with ports concerns.
pub const ANY_PORT: u32 = 0;

/// Key of `RULES` and `RESOLVED`.
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
pub struct RuleKey {
    /// The policy's number.
    pub policy: u64,
    /// Port class, [`ANY_PORT`] for rules without ports.
    pub class: u32,
    /// Prefix length on the 128-bit form, or one of [`rule_kind`].
    pub kind: u32,
    /// Masked address, whole address, or the name's number in its first eight bytes.
    pub value: Addr,
}

/// Values of [`RuleKey::kind`] beyond prefix lengths.
pub mod rule_kind {
    /// By name, in `RULES`: what the policy says of the name itself.
    pub const NAME: u32 = 256;
    /// By one address of a name, in `RESOLVED`.
    pub const ADDRESS: u32 = 257;
}

impl RuleKey {
    /// Key of what a policy says of a name.
    #[inline(always)]
    pub const fn name(policy: u64, class: u32, name: u64) -> Self {
        let n = name.to_ne_bytes();
        Self {
            policy,
            class,
            kind: rule_kind::NAME,
            value: Addr([
                n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], 0, 0, 0, 0, 0, 0, 0, 0,
            ]),
        }
    }
}

/// The first rule that matches.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RuleRow {
    /// Number of the name by which it matches; 0 if by prefix.
    pub name: u64,
    /// Its place in the policy, from 0; [`RuleRow::NONE`]'s is beyond all.
    pub rank: u32,
    /// One of [`action`].
    pub action: u32,
}

/// Values of [`RuleRow::action`].
pub mod action {
    /// No rule matches.
    pub const NONE: u32 = 0;
    /// Allowed.
    pub const ALLOW: u32 = 1;
    /// Denied; so is any other value.
    pub const DENY: u32 = 2;
}

impl RuleRow {
    /// No rule matches: allowed.
    pub const NONE: Self = Self {
        name: 0,
        rank: u32::MAX,
        action: action::NONE,
    };
}

/// Key of `SEARCHES`: the rules of one class and one family.
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
pub struct SearchKey {
    /// The policy's number.
    pub policy: u64,
    /// Port class.
    pub class: u32,
    /// 4 or 6.
    pub family: u32,
}

/// Slots of [`SearchRow::lens`]; the first is not used, so up to 63 lengths beside the family's shortest.
pub const SEARCH_LENS: usize = 64;

/// How to search the longest prefix by hash lookups: a binary search over the lengths that occur (Waldvogel et al., SIGCOMM
/// 1997). A hit sends it to longer lengths, a miss to shorter ones; so shorter lengths hold signposts of longer prefixes,
/// and each row carries the answer that holds so far.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SearchRow {
    /// The rule of the whole family.
    pub default: RuleRow,
    /// Lengths (128-bit form) as a search tree: children of slot `i` are `2i` (shorter) and `2i+1` (longer); 0 ends it.
    pub lens: [u8; SEARCH_LENS],
}

/// Key of `PORTS` after its prefix length in bits, [`PORT_BITS`] for one port.
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
pub struct PortKey {
    /// The policy's number, bytes as stored.
    pub policy: [u8; 8],
    /// IP protocol.
    pub proto: u8,
    /// Destination port, network byte order.
    pub port: [u8; 2],
    /// Zero; beyond every prefix.
    pub reserved: u8,
}

/// Bits of a [`PortKey`] that name one port.
pub const PORT_BITS: u32 = 88;

impl SetKey for RuleKey {
    fn set(&self) -> u64 {
        self.policy
    }
}

impl SetKey for SearchKey {
    fn set(&self) -> u64 {
        self.policy
    }
}

impl SetKey for (u32, PortKey) {
    fn set(&self) -> u64 {
        u64::from_ne_bytes(self.1.policy)
    }
}

/// Key of `HITS`.
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
pub struct HitKey {
    /// The policy's number.
    pub policy: u64,
    /// The rule's place in it.
    pub rank: u32,
    /// Zero.
    pub reserved: u32,
}

/// What a rule met.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct HitRow {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// When the last one came, nanoseconds of the monotonic clock.
    pub last: u64,
}

/// Number of a project whose addresses were learned, and the address: key of `LEARNED`.
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
pub struct LearnedKey {
    /// Whose pod was told the address.
    pub project: ProjectKey,
    /// The address.
    pub addr: Addr,
}

/// Names that one address can be learned for in one project.
pub const LEARNED_NAMES: usize = 4;

/// Names that have an address, as pods of the project were told by a trusted name server.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct LearnedRow {
    /// Last packet to the address that a rule by name was looked up for, nanoseconds of the monotonic clock, to the
    /// second: an address in use is the last to give way.
    pub used: u64,
    /// The address's place in the project's ring, which bounds what is learned.
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
    /// The names; one that is over has its `expires` in the past.
    pub names: [LearnedName; LEARNED_NAMES],
}

/// One name of an address.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct LearnedName {
    /// The name's number, 0 for none.
    pub name: u64,
    /// Until when new connections may use it, nanoseconds of the monotonic clock: TTL and grace.
    pub expires: u64,
    /// Interface index of the pod whose answer taught it.
    pub ifindex: u32,
    /// TTL in seconds.
    pub ttl: u32,
}

const _: () = assert!(size_of::<RuleKey>() == 32);
const _: () = assert!(size_of::<SearchRow>() == 80);
const _: () = assert!(size_of::<LearnedRow>() == 112);
