//! The tables of the data path: eBPF maps, each declared here and nowhere else.
//!
//! [`tables!`](crate::tables!) hands the whole list to a macro of the caller's. From it come the maps of the programs, the names
//! and shapes of their pins, what user space opens, writes, compares, counts and reads back. `docs/tables.md` shows how one
//! is added.

/// Calls the macro `$each` with all tables, in four groups:
///
/// - `world`: user space makes their rows out of the world, one by one. They are written in this order: who points at a row comes
///   after it, and is removed before it.
/// - `sets`: rows that belong together under a number, which stands for their content ([`SetKey`]). They never change: they are
///   written before the row that points at their number, and removed when no program can be at work that has found it.
/// - `shared`: one row of settings, and what the programs note and count; user space has them open.
/// - `kernel`: what the programs keep for themselves, and rings whose reader takes them out of the loaded object.
///
/// An entry is `NAME field: Kind<Key => Row>[capacity];`, in the group `world` with its variant of the writes behind the field
/// (`field(Variant)`, `field(Variant as HeldKey)` if writes hold the key otherwise). A set has its type, its field and its variant
/// before its maps: `Type field(Variant) { ... }`.
/// Kinds are those of [`Kind`]. All but rings and arrays allocate rows when they are written; LRU ones make room by themselves.
#[macro_export]
macro_rules! tables {
    ($each:ident) => {
        $each! {
            world {
                /// Rules of addresses that the agent resolved.
                RESOLVED resolved(Resolved): Hash<$crate::rows::egress::RuleKey => $crate::rows::egress::RuleRow>
                    [$crate::rows::egress::RESOLVED_CAPACITY];
                /// The names that policies of this node watch.
                NAMES names(Name as Box<NameKey>): Hash<$crate::rows::dns::NameKey => $crate::rows::dns::NameRow>
                    [$crate::rows::dns::NAMES_CAPACITY];
                /// Name servers whose answers count -> 1.
                TRUSTED trusted(Trusted): Hash<$crate::addr::Addr => u32>[$crate::rows::dns::NAMES_CAPACITY];
                /// Projects.
                PROJECTS projects(Project): Hash<$crate::rows::ProjectKey => $crate::rows::ProjectRow>
                    [$crate::rows::TABLE_CAPACITY];
                /// Known peers of the overlay, by underlay address.
                PEERS peers(Peer): Hash<$crate::addr::Addr => $crate::rows::PeerRow>[$crate::rows::TABLE_CAPACITY];
                /// Pod subnets, by their network address.
                SUBNETS subnets(Subnet): Hash<$crate::addr::Addr => $crate::rows::SubnetRow>[$crate::rows::TABLE_CAPACITY];
                /// What an address is, by the longest prefix.
                PREFIXES prefixes(Prefix): LpmTrie<$crate::rows::PrefixKey => $crate::rows::PrefixRow>
                    [$crate::rows::TABLE_CAPACITY];
                /// Projects of the local endpoints, by the interface from which they send.
                SENDERS senders(Sender): Hash<u32 => $crate::rows::ProjectKey>[$crate::rows::TABLE_CAPACITY];
                /// Local endpoints, by address. Last: a new pod is closed until everything else is there.
                ENDPOINTS endpoints(Endpoint): Hash<$crate::addr::Addr => $crate::rows::EndpointRow>
                    [$crate::rows::TABLE_CAPACITY];
            }
            sets {
                /// Rows of one egress policy.
                EgressPolicyTable egress_policies(EgressPolicy) {
                    /// Rules by destination prefix and by name.
                    RULES rules: Hash<$crate::rows::egress::RuleKey => $crate::rows::egress::RuleRow>
                        [$crate::rows::egress::RULES_CAPACITY];
                    /// How to search the prefixes of a policy.
                    SEARCHES searches: Hash<$crate::rows::egress::SearchKey => $crate::rows::egress::SearchRow>
                        [$crate::rows::TABLE_CAPACITY];
                    /// Classes of ports.
                    PORTS ports: LpmTrie<(u32, $crate::rows::egress::PortKey) => u32>[$crate::rows::egress::PORTS_CAPACITY];
                }
            }
            shared {
                /// What is true for the whole node.
                NODE node: Array<u32 => $crate::rows::NodeRow>[1];
                /// What each rule met.
                HITS hits: PerCpuHash<$crate::rows::egress::HitKey => $crate::rows::egress::HitRow>
                    [$crate::rows::egress::HITS_CAPACITY];
                /// Connections of local pods: with the outside, and to other pods where the host translates them.
                FLOWS flows: Hash<$crate::rows::flow::FlowKey => $crate::rows::flow::FlowRow>
                    [$crate::rows::flow::FLOWS_CAPACITY];
                /// Which connection has which place of its endpoint's share.
                FLOW_PLACES flow_places: Hash<$crate::rows::flow::FlowPlace => $crate::rows::flow::FlowKey>
                    [$crate::rows::flow::FLOWS_CAPACITY];
                /// How the endpoints use their shares of connections, by interface.
                FLOW_USE flow_use: Hash<u32 => $crate::rows::flow::FlowUseRow>[$crate::rows::TABLE_CAPACITY];
                /// Addresses that pods were told, and their names.
                LEARNED learned: Hash<$crate::rows::egress::LearnedKey => $crate::rows::egress::LearnedRow>
                    [$crate::rows::dns::LEARNED_CAPACITY];
                /// How learning goes, by project.
                LEARNING learning: Hash<$crate::rows::ProjectKey => $crate::rows::dns::LearningRow>
                    [$crate::rows::TABLE_CAPACITY];
                /// In what order a project's addresses were learned.
                RING ring: Hash<$crate::rows::dns::RingKey => $crate::addr::Addr>[$crate::rows::dns::LEARNED_CAPACITY];
                /// Queries that wait for their answer.
                QUERIES queries: Hash<$crate::rows::dns::QueryKey => $crate::rows::dns::QueryRow>
                    [$crate::rows::dns::QUERIES_CAPACITY];
                /// Packets of the endpoints, by interface.
                TRAFFIC traffic: PerCpuHash<u32 => $crate::rows::TrafficRow>[$crate::rows::TABLE_CAPACITY];
                /// What the endpoints send in fragments, by interface.
                FRAGMENTS fragments: Hash<u32 => $crate::rows::FragmentsRow>[$crate::rows::TABLE_CAPACITY];
                /// Drops by interface and reason.
                DROPS drops: LruPerCpuHash<$crate::rows::DropKey => $crate::rows::DropRow>[$crate::rows::DROPS_CAPACITY];
                /// Drops by reason.
                REASONS reasons: PerCpuArray<u32 => $crate::rows::DropRow>[$crate::rows::REASONS_CAPACITY];
                /// What may be sent of drop events.
                BUDGET budget: PerCpuArray<u32 => $crate::rows::EventBudget>[1];
            }
            kernel {
                /// Connections that the packet of the moment adds.
                NEW new: PerCpuArray<u32 => $crate::rows::flow::NewFlows>[1];
                /// What was sent of drop events of one kind.
                SHARES shares: PerCpuArray<u32 => $crate::rows::EventShare>[$crate::rows::SHARES_CAPACITY];
                /// Carries [`DropEvent`](crate::event::DropEvent)s; a ring has no type of its own.
                EVENTS events: RingBuf<() => ()>[$crate::rows::EVENTS_BYTES];
                /// Carries [`NameEvent`](crate::rows::dns::NameEvent)s.
                NAME_EVENTS name_events: RingBuf<() => ()>[$crate::rows::dns::NAME_EVENTS_BYTES];
            }
        }
    };
}

/// Kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BPF_MAP_TYPE_ARRAY`
    Array,
    /// `BPF_MAP_TYPE_HASH`, allocated on demand
    Hash,
    /// `BPF_MAP_TYPE_LPM_TRIE`
    LpmTrie,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PerCpuArray,
    /// `BPF_MAP_TYPE_PERCPU_HASH`, allocated on demand
    PerCpuHash,
    /// `BPF_MAP_TYPE_LRU_PERCPU_HASH`
    LruPerCpuHash,
    /// `BPF_MAP_TYPE_RINGBUF`; its capacity is in bytes
    RingBuf,
}

impl Kind {
    /// Bytes of a key, whose type has so many. A trie's stands behind the length of its prefix.
    const fn key_bytes(self, bytes: usize) -> usize {
        match self {
            Self::LpmTrie => LPM_LEN + bytes,
            _ => bytes,
        }
    }
}

/// The length of a prefix in bits, before the data of a trie's key (`struct bpf_lpm_trie_key_u8`).
const LPM_LEN: usize = size_of::<u32>();

/// A key of a trie.
pub trait LpmKey {
    /// What stands behind the length.
    type Data;
    /// The key with so many bits that count.
    fn new(bits: u32, data: Self::Data) -> Self;
    /// Its parts.
    fn parts(self) -> (u32, Self::Data);
}

impl<D> LpmKey for (u32, D) {
    type Data = D;

    fn new(bits: u32, data: D) -> Self {
        (bits, data)
    }

    fn parts(self) -> (u32, D) {
        self
    }
}

/// The shape of a map: a pin of another one is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Name of the map and of its pin.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    /// Most rows, or bytes of a ring.
    pub capacity: u32,
}

/// The part of a key whose size is that of its type.
macro_rules! key_type {
    (LpmTrie, $key:ty) => {
        <$key as LpmKey>::Data
    };
    ($kind:ident, $key:ty) => {
        $key
    };
}

/// A key of a map that holds sets.
pub trait SetKey {
    /// The number of the set that the row is one of.
    fn set(&self) -> u64;
}

macro_rules! shapes {
    (world { $($world:tt)* } sets { $(
        $(#[$doc:meta])*
        $set:ident $sets:ident ($write:ident) { $($rows:tt)* }
    )* } shared { $($shared:tt)* } kernel { $($kernel:tt)* }) => {
        shapes! { $($world)* $($($rows)*)* $($shared)* $($kernel)* }
    };
    ($(
        $(#[$doc:meta])*
        $name:ident $field:ident $(($($write:tt)*))?: $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )*) => {
        /// Names of the maps: of their pins, and symbols in the programs.
        pub mod map {
            $( $(#[$doc])* pub const $name: &str = stringify!($name); )*
        }

        /// The shapes of all maps.
        pub const SHAPES: &[Shape] = &[$(
            Shape {
                name: map::$name,
                kind: Kind::$kind,
                key_bytes: Kind::$kind.key_bytes(size_of::<key_type!($kind, $key)>()),
                row_bytes: size_of::<$row>(),
                capacity: $capacity,
            },
        )*];
    };
}

crate::tables!(shapes);
