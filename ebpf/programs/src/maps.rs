//! The maps, and the decisions' view of them.

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{
    Array, HashMap, LpmTrie, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, RingBuf,
};
use aya_ebpf::macros::btf_map;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::Tables;
use weft_ebpf::rows::{
    DROPS_CAPACITY, DropKey, DropRow, EVENTS_BYTES, EndpointRow, EventBudget, NodeRow, PeerRow,
    PrefixRow, ProjectKey, ProjectRow, REASONS_CAPACITY, SubnetRow, TABLE_CAPACITY, TrafficRow,
    VNID_CLOSED,
};

const ROWS: usize = TABLE_CAPACITY as usize;
/// Rows are allocated when they are written: the capacity costs nothing on a small node.
const ON_DEMAND: usize = aya_ebpf::bindings::BPF_F_NO_PREALLOC as usize;

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
pub static DROPS: LruPerCpuHashMap<DropKey, DropRow, { DROPS_CAPACITY as usize }> =
    LruPerCpuHashMap::new();
#[btf_map]
pub static REASONS: PerCpuArray<DropRow, { REASONS_CAPACITY as usize }> = PerCpuArray::new();
#[btf_map]
pub static BUDGET: PerCpuArray<EventBudget, 1> = PerCpuArray::new();
/// Carries [`weft_ebpf::event::DropEvent`]s; a ring has no value type of its own.
#[btf_map]
pub static EVENTS: RingBuf<(), { EVENTS_BYTES as usize }> = RingBuf::new();

/// The node's row; zeros until user space has written it.
#[inline(always)]
pub fn node() -> NodeRow {
    NODE.get(0).copied().unwrap_or(NodeRow {
        overlay_ifindex: 0,
        vxlan_port: 0,
    })
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
    fn vnid(&self, project: &ProjectKey) -> u32 {
        // SAFETY: as in `subnet`.
        unsafe { PROJECTS.get(project) }.map_or(VNID_CLOSED, |row| row.vnid)
    }
}
