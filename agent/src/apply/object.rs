//! The eBPF object, loaded over the pins.

use std::path::Path;
use std::time::{Duration, Instant};

use aya::maps::{MapInfo, MapType};
use aya::programs::{SchedClassifier, SocketFilter};
use aya::{Ebpf, EbpfLoader};
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::{self, LearningRow, NameKey, NameRow, QueryKey, QueryRow, RingKey};
use weft_ebpf::rows::egress::{
    self, FlowKey, FlowRow, HitKey, HitRow, LearnedKey, LearnedRow, PortKey, RuleKey, RuleRow,
    SearchKey, SearchRow,
};
use weft_ebpf::rows::service::{self, ServedRow};
use weft_ebpf::rows::{
    self, DropKey, DropRow, EndpointRow, EventBudget, EventShare, FragmentsRow, NodeRow, PeerRow,
    PrefixKey, PrefixRow, ProjectKey, ProjectRow, SubnetRow, TrafficRow, map,
};

use super::pins::{PinError, Pins};
use super::refusal::Refusal;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEFT_TC_OBJECT"));

/// Names of the programs of interfaces, which are also their symbols.
pub const PROGRAMS: [&str; 4] = ["from_pod", "to_pod", "from_overlay", "to_overlay"];
/// Name of the program that the node's firewall asks.
pub const AFTER_DNAT: &str = "after_dnat";

/// The object could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The binary was built with `EBPF=stub`.
    #[error(
        "this binary holds no eBPF programs (it was built with EBPF=stub): build it with `make build`"
    )]
    Stub,
    /// Pin folder trouble.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel or the loader refused.
    #[error("load the eBPF object: {0} (needs root, or CAP_BPF with CAP_NET_ADMIN)")]
    Object(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error(transparent)]
    Program(Refusal),
    /// The object lacks a program or a map.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
}

impl LoadError {
    /// With what is too long to be shown written into a folder.
    #[must_use]
    pub fn kept(self, folder: &Path) -> Self {
        match self {
            Self::Program(refusal) => Self::Program(refusal.kept(folder)),
            other => other,
        }
    }
}

/// The loaded object.
pub struct Object {
    /// aya's handle.
    pub ebpf: Ebpf,
    /// How long loading took.
    pub took: Duration,
    /// Maps whose pins did not fit and were replaced.
    pub replaced: Vec<&'static str>,
}

/// Type, key size, value size and capacity of a pinned map.
type Shape = (&'static str, MapType, usize, usize, u32);

fn shape<K, V>(name: &'static str, kind: MapType, capacity: u32) -> Shape {
    (name, kind, size_of::<K>(), size_of::<V>(), capacity)
}

/// The shapes of all pinned maps.
fn shapes() -> Vec<Shape> {
    use MapType::{Array, Hash, LpmTrie, LruHash, LruPerCpuHash, PerCpuArray, PerCpuHash, RingBuf};
    let table = rows::TABLE_CAPACITY;
    vec![
        shape::<u32, NodeRow>(map::NODE, Array, 1),
        shape::<PrefixKey, PrefixRow>(map::PREFIXES, LpmTrie, table),
        shape::<Addr, SubnetRow>(map::SUBNETS, Hash, table),
        shape::<Addr, PeerRow>(map::PEERS, Hash, table),
        shape::<Addr, EndpointRow>(map::ENDPOINTS, Hash, table),
        shape::<ProjectKey, ProjectRow>(map::PROJECTS, Hash, table),
        shape::<u32, TrafficRow>(map::TRAFFIC, PerCpuHash, table),
        shape::<u32, FragmentsRow>(map::FRAGMENTS, Hash, table),
        shape::<DropKey, DropRow>(map::DROPS, LruPerCpuHash, rows::DROPS_CAPACITY),
        shape::<u32, DropRow>(map::REASONS, PerCpuArray, rows::REASONS_CAPACITY),
        shape::<(), ()>(map::EVENTS, RingBuf, rows::EVENTS_BYTES),
        shape::<u32, EventBudget>(map::BUDGET, PerCpuArray, 1),
        shape::<u32, EventShare>(map::SHARES, PerCpuArray, rows::SHARES_CAPACITY),
        shape::<RuleKey, RuleRow>(egress::map::RULES, Hash, egress::RULES_CAPACITY),
        shape::<RuleKey, RuleRow>(egress::map::RESOLVED, Hash, egress::RESOLVED_CAPACITY),
        shape::<SearchKey, SearchRow>(egress::map::SEARCHES, Hash, table),
        shape::<(u32, PortKey), u32>(egress::map::PORTS, LpmTrie, egress::PORTS_CAPACITY),
        shape::<HitKey, HitRow>(egress::map::HITS, PerCpuHash, egress::HITS_CAPACITY),
        shape::<FlowKey, FlowRow>(egress::map::FLOWS, LruHash, egress::FLOWS_CAPACITY),
        shape::<FlowKey, ServedRow>(service::map::SERVED, LruHash, service::SERVED_CAPACITY),
        shape::<LearnedKey, LearnedRow>(dns::map::LEARNED, Hash, dns::LEARNED_CAPACITY),
        shape::<NameKey, NameRow>(dns::map::NAMES, Hash, dns::NAMES_CAPACITY),
        shape::<Addr, u32>(dns::map::TRUSTED, Hash, dns::NAMES_CAPACITY),
        shape::<QueryKey, QueryRow>(dns::map::QUERIES, LruHash, dns::QUERIES_CAPACITY),
        shape::<RingKey, Addr>(dns::map::RING, Hash, dns::LEARNED_CAPACITY),
        shape::<ProjectKey, LearningRow>(dns::map::LEARNING, Hash, table),
        shape::<(), ()>(dns::map::NAME_EVENTS, RingBuf, dns::NAME_EVENTS_BYTES),
    ]
}

/// Loads maps and programs. A pinned map is reused if its shape is the one expected; aya does not compare.
pub fn load(pins: &Pins) -> Result<Object, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::Stub);
    }
    let start = Instant::now();
    let mut replaced = Vec::new();
    let mut loader = EbpfLoader::new();
    // The programs need no relocation against the kernel's types, and parsing them would cost the agent its memory goal.
    loader.btf(None);
    for (name, kind, key, value, capacity) in shapes() {
        let path = pins.map(name);
        if path.exists() && !fits(&path, kind, key, value, capacity) {
            Pins::remove(&path)?;
            replaced.push(name);
        }
        loader.map_pin_path(name, path);
    }
    let mut ebpf = loader.load(OBJECT)?;
    for program in PROGRAMS {
        let found: &mut SchedClassifier = ebpf
            .program_mut(program)
            .ok_or(LoadError::Missing(program))?
            .try_into()
            .map_err(|error| LoadError::Program(Refusal::new(program, error)))?;
        found
            .load()
            .map_err(|error| LoadError::Program(Refusal::new(program, error)))?;
    }
    let refused = |error| LoadError::Program(Refusal::new(AFTER_DNAT, error));
    let after_dnat: &mut SocketFilter = ebpf
        .program_mut(AFTER_DNAT)
        .ok_or(LoadError::Missing(AFTER_DNAT))?
        .try_into()
        .map_err(refused)?;
    after_dnat.load().map_err(refused)?;
    Ok(Object {
        ebpf,
        took: start.elapsed(),
        replaced,
    })
}

fn fits(path: &Path, kind: MapType, key: usize, value: usize, capacity: u32) -> bool {
    MapInfo::from_pin(path).is_ok_and(|info| {
        info.map_type().is_ok_and(|found| found == kind)
            && info.key_size() as usize == key
            && info.value_size() as usize == value
            && info.max_entries() == capacity
    })
}
