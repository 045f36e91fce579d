//! Keys and rows of the eBPF maps.
//!
//! Every type derives `IntoBytes`, which rejects padding at compile time: a row with padding loads and silently misses
//! its lookups. No `bool`, enum or `Option` stands in a row, since any bit pattern must be valid.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::addr::Addr;
use crate::tables::LpmKey;

pub mod dns;
pub mod egress;
pub mod flow;

/// Most rows of `PREFIXES`, `SUBNETS`, `PEERS`, `ENDPOINTS` and `PROJECTS`. The maps allocate on demand.
pub const TABLE_CAPACITY: u32 = 131_072;
/// Most rows of `DROPS`; the least recently used one gives way.
pub const DROPS_CAPACITY: u32 = 8_192;
/// Bytes of the `EVENTS` ring.
pub const EVENTS_BYTES: u32 = 256 * 1024;
/// Slots of `SHARES`: kinds of drops that meet in one share their events.
pub const SHARES_CAPACITY: u32 = 4_096;
/// Slots of `REASONS`.
pub const REASONS_CAPACITY: u32 = 64;

/// The one MAC address of every host-side veth, the pods' next hop.
pub const GATEWAY_MAC: [u8; 6] = [0x0a, 0x58, 0xa9, 0xfe, 0x01, 0x01];
/// The one MAC address of every node's overlay device. Being equal everywhere, no node resolves a peer's.
pub const OVERLAY_MAC: [u8; 6] = [0x0a, 0x58, 0xa9, 0xfe, 0x01, 0x02];

/// What is true for the whole node.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct NodeRow {
    /// Interface index of the overlay device; 0 while there is none (remote pods are then unreachable).
    pub overlay_ifindex: u32,
    /// UDP port of the overlay, host byte order. Pods may not send to it.
    pub vxlan_port: u32,
    /// Shortest TTL that a learned address is given, seconds.
    pub dns_min_ttl: u32,
    /// How long an address stays allowed after its TTL, seconds; 0 for one TTL, at least 30 s.
    pub dns_grace: u32,
    /// Most addresses learned for one project.
    pub learned_limit: u32,
    /// Most connections noted for one endpoint, a power of two; 0 for none ([`flow::share`]).
    pub flow_share: u32,
}

/// Key of `PREFIXES`. Field order and `prefix_len` in bits are the kernel's (`struct bpf_lpm_trie_key_u8`).
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
pub struct PrefixKey {
    /// Length on the 128-bit form, 0..=128.
    pub prefix_len: u32,
    /// Network address.
    pub addr: Addr,
}

impl LpmKey for PrefixKey {
    type Data = Addr;

    fn new(prefix_len: u32, addr: Addr) -> Self {
        Self { prefix_len, addr }
    }

    fn parts(self) -> (u32, Addr) {
        (self.prefix_len, self.addr)
    }
}

/// Lengths of subnets in one [`PrefixRow`].
pub const SUBNET_LENS: usize = 4;

/// What a destination prefix is: [`class`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct PrefixRow {
    /// One of [`class`]; an unknown value is dropped.
    pub class: u32,
    /// For [`class::PODS`]: lengths (128-bit form) of the subnets in the prefix, the most usual one first, 0 for none.
    /// An address is masked to each and looked up in `SUBNETS`: a cluster network has one length, and one more for each
    /// that was adopted, so that hashes find subnets whatever their number; a trie would grow with it.
    pub subnet_lens: [u8; SUBNET_LENS],
}

/// Values of [`PrefixRow::class`].
pub mod class {
    /// Pods of some node: look the masked address up in `SUBNETS`.
    pub const PODS: u32 = 1;
    /// Service addresses: the host stack translates them.
    pub const SERVICES: u32 = 2;
    /// This node's own addresses in the underlay: the egress firewall judges what pods send there.
    pub const NODE: u32 = 3;
    /// This node's own addresses in the pod network: open to its pods.
    pub const GATEWAY: u32 = 4;

    /// Whether an address of this class is this node's own.
    #[inline(always)]
    pub const fn is_own(class: u32) -> bool {
        class == NODE || class == GATEWAY
    }
}

/// A node's pod subnet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SubnetRow {
    /// Underlay address of the node that holds the subnet; unspecified for the node's own subnet.
    pub node: Addr,
    /// Length of the subnet (128-bit form). An address masked to another one may meet it all the same, where both begin
    /// at one address; it does not count then.
    pub len: u32,
}

/// A known overlay peer.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct PeerRow {
    /// No flag is defined yet; zero.
    pub flags: u32,
}

/// 64 bits that stand for a project's name: the first eight bytes of its SHA-256. Two names with one key are closed.
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
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct ProjectKey(pub u64);

/// A project. All its pods change together when this one row does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProjectRow {
    /// Number of its egress policy, [`egress::NO_POLICY`] or [`egress::POLICY_CLOSED`].
    pub policy: u64,
    /// VNID, 0..=0xff_ffff; anything larger means closed.
    pub vnid: u32,
    /// Bits of [`egress::project_flag`].
    pub flags: u32,
}

/// VNID of a project that nobody may talk to: it is unknown, or its object is invalid.
pub const VNID_CLOSED: u32 = u32::MAX;
/// The largest VNID.
pub const VNID_MAX: u32 = 0x00ff_ffff;

/// A local pod's interface, one row for each of its addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EndpointRow {
    /// The pod's project.
    pub project: ProjectKey,
    /// Interface index of the host-side veth.
    pub ifindex: u32,
    /// MAC address of the pod's `eth0`.
    pub mac: [u8; 6],
    /// [`endpoint_flag`] bits.
    pub flags: u16,
    /// Zero.
    pub reserved: u32,
}

/// Bits of [`EndpointRow::flags`].
pub mod endpoint_flag {
    /// Traffic to the pod is shaped on its host-side veth and must pass that device's qdisc.
    pub const SHAPED: u16 = 1;
}

/// Packets and bytes of an endpoint.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct TrafficRow {
    /// Packets the pod sent that were admitted.
    pub from_packets: u64,
    /// Bytes of them.
    pub from_bytes: u64,
    /// Packets delivered to the pod.
    pub to_packets: u64,
    /// Bytes of them.
    pub to_bytes: u64,
}

/// Packets of one endpoint that may be unfinished at once.
pub const FRAGMENTS_AT_ONCE: usize = 8;

/// What an endpoint sends in fragments.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FragmentsRow {
    /// Packets of which the last fragment has not come yet.
    pub unfinished: [UnfinishedRow; FRAGMENTS_AT_ONCE],
}

/// A packet of which some fragments have come.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct UnfinishedRow {
    /// Tells it from others of the endpoint.
    pub key: u32,
    /// When its first fragment came, seconds of the monotonic clock.
    pub second: u32,
    /// Where the next fragment begins, in units of eight bytes.
    pub next: u16,
    /// Fragments that have come; 0 if the place is free.
    pub count: u16,
    /// Zero.
    pub reserved: u32,
}

/// Whose packets were dropped, and why.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DropKey {
    /// Interface index of the endpoint the packet came from or was for; 0 if none.
    pub ifindex: u32,
    /// [`DropReason`](crate::reason::DropReason) as a number.
    pub reason: u32,
}

/// Dropped packets and bytes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DropRow {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What one CPU may send of drop events.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct EventBudget {
    /// Start of the current window, nanoseconds of the monotonic clock.
    pub window_start: u64,
    /// Events sent in the window.
    pub sent: u64,
    /// Events not sent since start, for want of budget or of room in the ring.
    pub suppressed: u64,
}

/// What one CPU has sent of drop events of one kind, which is an endpoint and a reason.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct EventShare {
    /// The last second, of the monotonic clock, in which there was such a drop.
    pub second: u32,
    /// Drops in that second.
    pub drops: u32,
}

const _: () = assert!(size_of::<PrefixKey>() == 20);
const _: () = assert!(size_of::<ProjectRow>() == 16);
const _: () = assert!(size_of::<EndpointRow>() == 24);
