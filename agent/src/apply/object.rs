//! The eBPF object, loaded over the pins.

use std::time::{Duration, Instant};

use aya::maps::{MapInfo, MapType};
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::{
    self, DropKey, DropRow, EndpointRow, EventBudget, NodeRow, PeerRow, PrefixKey, PrefixRow,
    ProjectKey, ProjectRow, SubnetRow, TrafficRow, map,
};

use super::pins::{PinError, Pins};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEFT_TC_OBJECT"));

/// Names of the programs, which are also their symbols.
pub const PROGRAMS: [&str; 4] = ["from_pod", "to_pod", "from_overlay", "to_overlay"];

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
    /// The verifier refused a program.
    #[error("load program {program}: {source}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The cause, with the verifier's log.
        #[source]
        source: ProgramError,
    },
    /// The object lacks a program or a map.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
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

/// Type, key size, value size and capacity of each pinned map.
fn shapes() -> [(&'static str, MapType, usize, usize, u32); 11] {
    let table = rows::TABLE_CAPACITY;
    [
        (map::NODE, MapType::Array, 4, size_of::<NodeRow>(), 1),
        (
            map::PREFIXES,
            MapType::LpmTrie,
            size_of::<PrefixKey>(),
            size_of::<PrefixRow>(),
            table,
        ),
        (
            map::SUBNETS,
            MapType::Hash,
            size_of::<Addr>(),
            size_of::<SubnetRow>(),
            table,
        ),
        (
            map::PEERS,
            MapType::Hash,
            size_of::<Addr>(),
            size_of::<PeerRow>(),
            table,
        ),
        (
            map::ENDPOINTS,
            MapType::Hash,
            size_of::<Addr>(),
            size_of::<EndpointRow>(),
            table,
        ),
        (
            map::PROJECTS,
            MapType::Hash,
            size_of::<ProjectKey>(),
            size_of::<ProjectRow>(),
            table,
        ),
        (
            map::TRAFFIC,
            MapType::PerCpuHash,
            4,
            size_of::<TrafficRow>(),
            table,
        ),
        (
            map::DROPS,
            MapType::LruPerCpuHash,
            size_of::<DropKey>(),
            size_of::<DropRow>(),
            rows::DROPS_CAPACITY,
        ),
        (
            map::REASONS,
            MapType::PerCpuArray,
            4,
            size_of::<DropRow>(),
            rows::REASONS_CAPACITY,
        ),
        (map::EVENTS, MapType::RingBuf, 0, 0, rows::EVENTS_BYTES),
        (
            map::BUDGET,
            MapType::PerCpuArray,
            4,
            size_of::<EventBudget>(),
            1,
        ),
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
            .map_err(|source| LoadError::Program { program, source })?;
        found
            .load()
            .map_err(|source| LoadError::Program { program, source })?;
    }
    Ok(Object {
        ebpf,
        took: start.elapsed(),
        replaced,
    })
}

fn fits(path: &std::path::Path, kind: MapType, key: usize, value: usize, capacity: u32) -> bool {
    MapInfo::from_pin(path).is_ok_and(|info| {
        info.map_type().is_ok_and(|found| found == kind)
            && info.key_size() as usize == key
            && info.value_size() as usize == value
            && info.max_entries() == capacity
    })
}
