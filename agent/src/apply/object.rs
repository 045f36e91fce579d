//! The eBPF object, loaded over the pins.

use std::path::Path;
use std::time::{Duration, Instant};

use aya::maps::{MapInfo, MapType};
use aya::programs::{SchedClassifier, SocketFilter};
use aya::{Ebpf, EbpfLoader};
use weft_ebpf::tables::{Kind, SHAPES, Shape};

use super::pins::{PinError, Pins};
use super::refusal::Refusal;
use crate::bpf::hooks::PROGRAMS;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEFT_TC_OBJECT"));

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
    for shape in SHAPES {
        let path = pins.map(shape.name);
        if path.exists() && !fits(&path, shape) {
            Pins::remove(&path)?;
            replaced.push(shape.name);
        }
        loader.map_pin_path(shape.name, path);
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

/// Whether there is a pin of a map with this name that has the same kind, keys and rows as here.
pub(super) fn has_rows(path: &Path, name: &str) -> bool {
    let shape = SHAPES.iter().find(|shape| shape.name == name);
    let info = MapInfo::from_pin(path);
    shape.is_some_and(|shape| info.is_ok_and(|info| is_alike(&info, shape)))
}

fn fits(path: &Path, shape: &Shape) -> bool {
    let info = MapInfo::from_pin(path);
    info.is_ok_and(|info| is_alike(&info, shape) && info.max_entries() == shape.capacity)
}

fn is_alike(info: &MapInfo, shape: &Shape) -> bool {
    let kind = info.map_type();
    kind.is_ok_and(|kind| kind == map_type(shape.kind))
        && info.key_size() as usize == shape.key_bytes
        && info.value_size() as usize == shape.row_bytes
}

const fn map_type(kind: Kind) -> MapType {
    match kind {
        Kind::Array => MapType::Array,
        Kind::Hash => MapType::Hash,
        Kind::LpmTrie => MapType::LpmTrie,
        Kind::PerCpuArray => MapType::PerCpuArray,
        Kind::PerCpuHash => MapType::PerCpuHash,
        Kind::LruPerCpuHash => MapType::LruPerCpuHash,
        Kind::RingBuf => MapType::RingBuf,
    }
}
