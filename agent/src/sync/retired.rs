//! Rows of policies that no project points at any more.
//!
//! A program may have read a project's row just before it was replaced, so the rows of its policy stay until every program
//! that was at work has ended. That wait is long beside the writes (some ten milliseconds), and the loop does nothing else
//! meanwhile: it is made once for all policies that went within a while.

use std::time::{Duration, Instant};

use weft_core::diff::{EgressPolicyWrite, Write};

use super::kernel::{Kernel, KernelError};
use crate::apply;

/// How long rows that nothing needs may take up room.
const LINGER: Duration = Duration::from_millis(500);

/// Removals that are to be made, all of policies that were replaced or went.
#[derive(Debug, Default)]
pub(super) struct Retired {
    writes: Vec<Write>,
    /// When the first of them is due.
    due: Option<Instant>,
}

impl Retired {
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// When somebody has to call [`Kernel::remove_retired`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn take(&mut self, write: Write) {
        self.writes.push(write);
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
    }

    /// Whether one of these policies comes back with the writes.
    pub(super) fn returns(&self, writes: &[Write]) -> bool {
        let mut coming = writes.iter().filter_map(|write| match write {
            Write::EgressPolicy(EgressPolicyWrite {
                number,
                new: Some(_),
                ..
            }) => Some(*number),
            _ => None,
        });
        coming.any(|number| goes(number, &self.writes))
    }
}

impl Kernel {
    /// Removes the rows of retired policies, after the wait. What could not be removed is found by the next full pass.
    pub(super) fn remove_retired(&mut self) -> Result<usize, KernelError> {
        if self.retired.is_empty() {
            return Ok(0);
        }
        if let Err(error) = apply::wait_for_programs() {
            self.retired.due = Some(Instant::now() + LINGER);
            return Err(KernelError::Barrier(error));
        }
        let Retired { writes, .. } = std::mem::take(&mut self.retired);
        for write in &writes {
            self.maps.write(write)?;
            self.mirror.write(write);
        }
        Ok(writes.len())
    }
}

/// Whether a write removes rows that a program may still need which has found their policy a moment ago.
pub(super) fn takes_egress_policy_away(write: &Write, all: &[Write]) -> bool {
    match write {
        Write::EgressPolicy(EgressPolicyWrite { new: None, .. }) => true,
        Write::Resolved(key, None) => goes(key.policy, all),
        _ => false,
    }
}

fn goes(policy: u64, writes: &[Write]) -> bool {
    let is = |write: &Write| matches!(write, Write::EgressPolicy(EgressPolicyWrite { number, new: None, .. }) if *number == policy);
    writes.iter().any(is)
}
