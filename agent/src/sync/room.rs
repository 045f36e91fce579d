//! Whether rows fit their maps, found out before any is written.

use weft_core::compile::Tables;
use weft_core::diff::{EgressPolicyWrite, Write};

use super::kernel::KernelError;

/// Checks every map's size after the writes.
pub(super) fn check(mirror: &Tables, writes: &[Write]) -> Result<(), KernelError> {
    // Far from the limit the exact sum does not matter, and a copy of the tables is not worth it.
    let more: usize = writes.iter().map(weight).sum();
    let mut sizes = mirror.sizes().into_iter();
    if sizes.all(|(_, rows, room)| rows + more <= room) {
        return Ok(());
    }
    let mut after = mirror.clone();
    // Nothing is removed before all is put, save endpoints.
    for write in writes {
        if !write.removes() || matches!(write, Write::Endpoint(..)) {
            after.write(write);
        }
    }
    let full = after
        .sizes()
        .into_iter()
        .find(|(_, rows, room)| rows > room);
    match full {
        Some((table, rows, room)) => Err(KernelError::Full { table, rows, room }),
        None => Ok(()),
    }
}

/// Rows that a write can add to any one map.
fn weight(write: &Write) -> usize {
    match write {
        Write::EgressPolicy(EgressPolicyWrite {
            new: Some(table), ..
        }) => table.rules.len().max(table.ports.len()),
        _ => 1,
    }
}
