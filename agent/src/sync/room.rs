//! Whether rows fit their maps, found out before any is written, and what becomes of changes whose rows do not.

use weft_core::compile::{Scope, Tables};
use weft_core::diff::Write;
use weft_core::model::Change;

use super::kernel::{Kernel, KernelError};
use super::shared::{Refusal, Shared};

/// Checks every map's size after the writes.
pub(super) fn check(mirror: &Tables, writes: &[Write]) -> Result<(), KernelError> {
    // Far from the limit the exact sum does not matter, and a copy of the tables is not worth it.
    let more: usize = writes.iter().map(Write::most_rows).sum();
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

impl KernelError {
    /// Whether it is anything else than a want of room, for which nothing was written.
    pub(super) const fn fits(&self) -> bool {
        !matches!(self, Self::Full { .. } | Self::Unfit(_))
    }
}

/// What is told of an object whose rows do not fit.
pub(super) fn refusal(error: &KernelError, meanwhile: &str) -> Refusal {
    Refusal {
        message: format!("{error}; {meanwhile}"),
        everywhere: matches!(error, KernelError::Unfit(_)),
    }
}

impl Kernel {
    /// Takes several changes in as one step. If their rows do not fit, none is taken: rows and world stay as they were.
    pub(super) fn change_or_keep(
        &mut self,
        shared: &Shared,
        changes: Vec<Change>,
        scope: &Scope,
    ) -> Result<usize, KernelError> {
        let back: Vec<Change> = {
            let world = shared.world();
            changes.iter().map(|change| world.undo(change)).collect()
        };
        let written = self.change_all(shared, changes, scope);
        if written.as_ref().is_err_and(|error| !error.fits()) {
            // Nothing was written, so the world has only to say so again.
            shared.change(|world| back.into_iter().for_each(|change| world.take(change)));
        }
        written
    }
}
