//! The maps, and the decisions' view of them.

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{
    Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, RingBuf,
};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::Tables;
use weft_ebpf::rows::dns::{LEARNED_CAPACITY, NAMES_CAPACITY, NameKey, NameRow};
use weft_ebpf::rows::egress::{
    ANY_PORT, FLOWS_CAPACITY, FlowKey, FlowRow, HITS_CAPACITY, HitKey, HitRow, LearnedKey,
    LearnedRow, PORT_BITS, PORTS_CAPACITY, PortKey, RESOLVED_CAPACITY, RULES_CAPACITY, RuleKey,
    RuleRow, SearchKey, SearchRow,
};
use weft_ebpf::rows::service::{SERVED_CAPACITY, ServedRow};
use weft_ebpf::rows::{
    DROPS_CAPACITY, DropKey, DropRow, EVENTS_BYTES, EndpointRow, EventBudget, EventShare,
    FragmentsRow, NodeRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, REASONS_CAPACITY,
    SHARES_CAPACITY, SubnetRow, TABLE_CAPACITY, TrafficRow,
};

const ROWS: usize = TABLE_CAPACITY as usize;
/// Rows are allocated when they are written: the capacity costs nothing on a small node.
pub const ON_DEMAND: usize = aya_ebpf::bindings::BPF_F_NO_PREALLOC as usize;

#[btf_map]
static NODE: Array<NodeRow, 1> = Array::new();
#[btf_map]
static PREFIXES: LpmTrie<Addr, PrefixRow, ROWS> = LpmTrie::new();
#[btf_map]
static SUBNETS: HashMap<Addr, SubnetRow, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
static PEERS: HashMap<Addr, PeerRow, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
static ENDPOINTS: HashMap<Addr, EndpointRow, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
static PROJECTS: HashMap<ProjectKey, ProjectRow, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static TRAFFIC: PerCpuHashMap<u32, TrafficRow, ROWS, ON_DEMAND> = PerCpuHashMap::new();
#[btf_map]
static FRAGMENTS: HashMap<u32, FragmentsRow, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
static SENDERS: HashMap<u32, ProjectKey, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static DROPS: LruPerCpuHashMap<DropKey, DropRow, { DROPS_CAPACITY as usize }> =
    LruPerCpuHashMap::new();
#[btf_map]
pub static REASONS: PerCpuArray<DropRow, { REASONS_CAPACITY as usize }> = PerCpuArray::new();
#[btf_map]
pub static BUDGET: PerCpuArray<EventBudget, 1> = PerCpuArray::new();
#[btf_map]
pub static SHARES: PerCpuArray<EventShare, { SHARES_CAPACITY as usize }> = PerCpuArray::new();
/// Carries [`weft_ebpf::event::DropEvent`]s; a ring has no value type of its own.
#[btf_map]
pub static EVENTS: RingBuf<(), { EVENTS_BYTES as usize }> = RingBuf::new();

#[btf_map]
static RULES: HashMap<RuleKey, RuleRow, { RULES_CAPACITY as usize }, ON_DEMAND> = HashMap::new();
#[btf_map]
static RESOLVED: HashMap<RuleKey, RuleRow, { RESOLVED_CAPACITY as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
static SEARCHES: HashMap<SearchKey, SearchRow, ROWS, ON_DEMAND> = HashMap::new();
#[btf_map]
static PORTS: LpmTrie<PortKey, u32, { PORTS_CAPACITY as usize }> = LpmTrie::new();
#[btf_map]
static HITS: PerCpuHashMap<HitKey, HitRow, { HITS_CAPACITY as usize }, ON_DEMAND> =
    PerCpuHashMap::new();
#[btf_map]
static FLOWS: LruHashMap<FlowKey, FlowRow, { FLOWS_CAPACITY as usize }> = LruHashMap::new();
#[btf_map]
static SERVED: LruHashMap<FlowKey, ServedRow, { SERVED_CAPACITY as usize }> = LruHashMap::new();
#[btf_map]
pub static LEARNED: HashMap<LearnedKey, LearnedRow, { LEARNED_CAPACITY as usize }, ON_DEMAND> =
    HashMap::new();

#[btf_map]
pub static NAMES: HashMap<NameKey, NameRow, { NAMES_CAPACITY as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
pub static TRUSTED: HashMap<Addr, u32, { NAMES_CAPACITY as usize }, ON_DEMAND> = HashMap::new();

/// The node's row; zeros until user space has written it.
#[inline(always)]
pub fn node() -> NodeRow {
    NODE.get(0).copied().unwrap_or_default()
}

/// The maps as the decisions see them.
pub struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn vxlan_port(&self) -> u16 {
        node().vxlan_port as u16
    }

    #[inline(always)]
    fn prefix(&self, addr: &Addr) -> Option<PrefixRow> {
        PREFIXES.get(&Key::new(128, *addr)).copied()
    }

    #[inline(always)]
    fn subnet(&self, network: &Addr) -> Option<SubnetRow> {
        // SAFETY: the row is copied at once; a concurrent change shows the old or the new row of this key.
        unsafe { SUBNETS.get(network) }.copied()
    }

    #[inline(always)]
    fn peer(&self, addr: &Addr) -> Option<PeerRow> {
        // SAFETY: as in `subnet`.
        unsafe { PEERS.get(addr) }.copied()
    }

    #[inline(always)]
    fn endpoint(&self, addr: &Addr) -> Option<EndpointRow> {
        // SAFETY: as in `subnet`.
        unsafe { ENDPOINTS.get(addr) }.copied()
    }

    #[inline(always)]
    fn sender(&self, ifindex: u32) -> Option<ProjectKey> {
        // SAFETY: as in `subnet`.
        unsafe { SENDERS.get(ifindex) }.copied()
    }

    #[inline(always)]
    fn project(&self, project: &ProjectKey) -> Option<ProjectRow> {
        // SAFETY: as in `subnet`.
        unsafe { PROJECTS.get(project) }.copied()
    }

    #[inline(always)]
    fn rule(&self, key: &RuleKey) -> Option<RuleRow> {
        // SAFETY: as in `subnet`.
        unsafe { RULES.get(key) }.copied()
    }

    #[inline(always)]
    fn resolved(&self, key: &RuleKey) -> Option<RuleRow> {
        // SAFETY: as in `subnet`.
        unsafe { RESOLVED.get(key) }.copied()
    }

    #[inline(always)]
    fn search(&self, key: &SearchKey) -> Option<&SearchRow> {
        // SAFETY: a row never changes, and is removed after every program that could have found it has ended.
        unsafe { SEARCHES.get(key) }
    }

    #[inline(always)]
    fn port_class(&self, policy: u64, proto: u8, port: u16) -> u32 {
        let key = PortKey {
            policy: policy.to_ne_bytes(),
            proto,
            port: port.to_be_bytes(),
            reserved: 0,
        };
        PORTS
            .get(&Key::new(PORT_BITS, key))
            .copied()
            .unwrap_or(ANY_PORT)
    }

    #[inline(always)]
    fn learned(&self, key: &LearnedKey, now: u64) -> Option<&LearnedRow> {
        let row = LEARNED.get_ptr_mut(key)?;
        // SAFETY: the row stays mapped while the program runs; what another processor writes meanwhile are whole words.
        let row = unsafe { &mut *row };
        if now.wrapping_sub(row.used) >= USED_PRECISION {
            row.used = now;
        }
        Some(row)
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<FlowRow> {
        // SAFETY: as in `subnet`.
        unsafe { FLOWS.get(key) }.copied()
    }

    #[inline(always)]
    fn note_flow(&self, key: &FlowKey, row: FlowRow) {
        if let Some(found) = FLOWS.get_ptr_mut(key) {
            // SAFETY: as in `learned`; two packets of one connection write nearly the same.
            unsafe { *found = row };
        } else {
            // The map makes room by itself. Should the insert fail all the same, only an answer or a connection whose name
            // is over is affected, and closed.
            let _ignored = FLOWS.insert(key, row, 0);
        }
    }

    #[inline(always)]
    fn served(&self, key: &FlowKey) -> Option<ServedRow> {
        // SAFETY: as in `subnet`.
        unsafe { SERVED.get(key) }.copied()
    }

    #[inline(always)]
    fn note_served(&self, key: &FlowKey, row: Option<ServedRow>) {
        // The map makes room by itself; what fails all the same is tried again with the client's next packet.
        let _ignored = match row {
            Some(row) => SERVED.insert(key, row, 0),
            None => SERVED.remove(key),
        };
    }

    #[inline(always)]
    fn count_hit(&self, key: &HitKey, bytes: u32, now: u64) {
        let bytes = u64::from(bytes);
        if let Some(row) = HITS.get_ptr_mut(key) {
            // SAFETY: a per-CPU value; programs of this CPU are not preempted by another one on it.
            let row = unsafe { &mut *row };
            row.packets += 1;
            row.bytes += bytes;
            row.last = now;
        } else {
            // A full map counts no further rules: none of them is in force for want of rows in others first.
            let first = HitRow {
                packets: 1,
                bytes,
                last: now,
            };
            let _ignored = HITS.insert(key, first, 0);
        }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_ns() }
    }
}

/// How often an address in use is noted as such: not for every packet, which would keep its cache line moving.
const USED_PRECISION: u64 = 1_000_000_000;

/// What the endpoint behind this interface sends in fragments; `None` if it is not known.
///
/// To be held by one function of a program at a time.
#[inline(always)]
pub fn fragments_of(ifindex: u32) -> Option<&'static mut FragmentsRow> {
    let row = FRAGMENTS.get_ptr_mut(ifindex)?;
    // SAFETY: the row stays mapped while the program runs. Another processor may write into it meanwhile, which can only lose
    // or let go a fragment of this pod.
    Some(unsafe { &mut *row })
}
