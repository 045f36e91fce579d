//! The maps, and the decisions' view of them.

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{
    Array, HashMap, LpmTrie, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, RingBuf,
};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::btf_map;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{Party, Tables};
use weft_ebpf::packet::Packet;
use weft_ebpf::rows::egress::{
    ANY_PORT, HitKey, HitRow, LearnedKey, LearnedRow, PORT_BITS, PortKey, RuleKey, RuleRow,
    SearchKey, SearchRow,
};
use weft_ebpf::rows::flow::{FlowKey, FlowRow};
use weft_ebpf::rows::{
    EndpointRow, FragmentsRow, NodeRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, SubnetRow,
};
use weft_ebpf::tables::LpmKey;

use crate::{flows, once};

/// Rows are allocated when they are written: the capacity costs nothing on a small node.
const ON_DEMAND: usize = aya_ebpf::bindings::BPF_F_NO_PREALLOC as usize;

/// The type of a map.
macro_rules! map {
    (Array, $key:ty, $row:ty, $capacity:expr) => { Array<$row, { $capacity as usize }> };
    (Hash, $key:ty, $row:ty, $capacity:expr) => { HashMap<$key, $row, { $capacity as usize }, ON_DEMAND> };
    (LpmTrie, $key:ty, $row:ty, $capacity:expr) => {
        LpmTrie<<$key as LpmKey>::Data, $row, { $capacity as usize }>
    };
    (PerCpuArray, $key:ty, $row:ty, $capacity:expr) => { PerCpuArray<$row, { $capacity as usize }> };
    (PerCpuHash, $key:ty, $row:ty, $capacity:expr) => {
        PerCpuHashMap<$key, $row, { $capacity as usize }, ON_DEMAND>
    };
    (LruPerCpuHash, $key:ty, $row:ty, $capacity:expr) => {
        LruPerCpuHashMap<$key, $row, { $capacity as usize }>
    };
    (RingBuf, $key:ty, $row:ty, $capacity:expr) => { RingBuf<(), { $capacity as usize }> };
}

macro_rules! statics {
    (world { $($world:tt)* } sets { $(
        $(#[$doc:meta])*
        $set:ident $sets:ident ($write:ident) { $($rows:tt)* }
    )* } shared { $($shared:tt)* } kernel { $($kernel:tt)* }) => {
        statics! { $($world)* $($($rows)*)* $($shared)* $($kernel)* }
    };
    ($(
        $(#[$doc:meta])*
        $name:ident $field:ident $(($($write:tt)*))?: $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )*) => {
        $( #[btf_map] pub static $name: map!($kind, $key, $row, $capacity) = <map!($kind, $key, $row, $capacity)>::new(); )*
    };
}

weft_ebpf::tables!(statics);

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
            // SAFETY: the row stays mapped while the program runs.
            let found = unsafe { &mut *found };
            if found.ifindex == row.ifindex {
                // Memory of a row that is removed at this moment may be another row's already: what seldom changes is
                // seldom written.
                found.seen = row.seen;
                if found.name != row.name || found.kind != row.kind {
                    found.name = row.name;
                    found.kind = row.kind;
                }
                return;
            }
        }
        flows::add(key, row);
    }

    #[inline(always)]
    fn forget_flow(&self, key: &FlowKey) {
        let _ignored = FLOWS.remove(key); // gone already
    }

    #[inline(always)]
    fn better(&self, key: &RuleKey, best: &mut RuleRow) -> u32 {
        once::better(key, best)
    }

    #[inline(always)]
    fn judged(&self, party: &Party, packet: &Packet) -> u32 {
        once::judged(party, packet)
    }

    #[inline(always)]
    fn by_prefix(&self, policy: u64, class: u32, addr: &Addr, rule: &mut RuleRow) -> bool {
        once::by_prefix(policy, class, addr, rule) != 0
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
        // Some milliseconds behind, and a third of the cost: decisions count in seconds.
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_coarse_ns() }
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
