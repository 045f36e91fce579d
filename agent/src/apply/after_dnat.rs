//! The program that the node's firewall asks: its pin, which the kernel opens when it takes a rule in.
//!
//! The pin's name tells what the program is (its tag, by which the kernel tells programs apart) and which maps it reads. So a rule
//! with another program has another text, and is rewritten like any rule that differs; the old pin can go then.

use std::collections::BTreeSet;
use std::path::PathBuf;

use aya::Ebpf;
use aya::programs::{ProgramError, SocketFilter};

use super::object::AFTER_DNAT;
use super::pins::{PinError, Pins};

/// The program could not be pinned.
#[derive(Debug, thiserror::Error)]
pub enum AfterDnatError {
    /// The object lacks it.
    #[error("the eBPF object has no program {AFTER_DNAT}")]
    Missing,
    /// The kernel does not say what it is.
    #[error("ask the kernel about program {AFTER_DNAT}: {0}")]
    Info(#[source] ProgramError),
    /// The kernel does not say which maps it reads.
    #[error("the kernel does not say which maps program {AFTER_DNAT} reads")]
    NoMaps,
    /// The call failed.
    #[error("pin program {AFTER_DNAT} as {path}: {source}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: aya::pin::PinError,
    },
}

/// Pins the loaded program, if it is not pinned already; where it is.
pub fn pin(ebpf: &mut Ebpf, pins: &Pins) -> Result<PathBuf, AfterDnatError> {
    let program = ebpf.program_mut(AFTER_DNAT);
    let program: &mut SocketFilter = program
        .and_then(|program| program.try_into().ok())
        .ok_or(AfterDnatError::Missing)?;
    let info = program.info().map_err(AfterDnatError::Info)?;
    let maps = info.map_ids().map_err(AfterDnatError::Info)?;
    let maps = maps.ok_or(AfterDnatError::NoMaps)?;
    let path = pins.program(&name(info.tag(), maps));
    if !path.exists() {
        program.pin(&path).map_err(|source| AfterDnatError::Pin {
            path: path.clone(),
            source,
        })?;
    }
    Ok(path)
}

/// Removes the pins of other programs than these. Tells how many.
pub fn remove_others(pins: &Pins, kept: &BTreeSet<PathBuf>) -> Result<usize, PinError> {
    let others = pins.programs()?;
    let others = others
        .iter()
        .map(|name| pins.program(name))
        .filter(|path| !kept.contains(path));
    let mut removed = 0;
    for path in others {
        Pins::remove(&path)?;
        removed += 1;
    }
    Ok(removed)
}

/// `map_ids` are unique while the machine runs.
fn name(tag: u64, mut map_ids: Vec<u32>) -> String {
    map_ids.sort_unstable();
    // FNV-1a, of 32-bit words.
    let maps = map_ids.iter().fold(0x811c_9dc5_u32, |hash, id| {
        (hash ^ id).wrapping_mul(0x0100_0193)
    });
    format!("{AFTER_DNAT}-{tag:016x}-{maps:08x}")
}
