//! Sets of rows that nothing points at any more.
//!
//! A program may have read a row just before it was replaced, so the set that the row named stays until every program that was at
//! work has ended. That wait is long beside the writes (some ten milliseconds): it is made once for all sets that went within a
//! while, on a thread of its own, so that no pod waits for it.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use weft_core::diff::{SetId, Write};

use super::kernel::{Kernel, KernelError};
use crate::apply;

/// How long rows that nothing needs may take up room.
const LINGER: Duration = Duration::from_millis(500);

/// Hears that all programs have ended that were at work when it was asked for; with the number of the question.
pub type OnEnded = Box<dyn Fn(u64, io::Result<()>) + Send>;

/// Removals that are to be made, all of sets that were replaced or went.
#[derive(Debug)]
pub(super) struct Retired {
    /// Those that wait for company.
    writes: Vec<Write>,
    /// When they have waited long enough.
    due: Option<Instant>,
    /// Those that wait for the programs at work.
    leaving: Vec<Write>,
    /// The last question of when those have ended. An answer to an older one says nothing of what has come to them since.
    asked: u64,
    ask: Sender<u64>,
}

impl Retired {
    /// Starts the thread that waits.
    pub(super) fn start(on_ended: OnEnded) -> io::Result<Self> {
        let (ask, asked) = channel();
        std::thread::Builder::new()
            .name("retired".into())
            .spawn(move || {
                for number in asked {
                    on_ended(number, apply::wait_for_programs());
                }
            })?;
        Ok(Self {
            writes: Vec::new(),
            due: None,
            leaving: Vec::new(),
            asked: 0,
            ask,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.leaving.is_empty()
    }

    /// When somebody has to call [`Kernel::ask_for_retired`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn take(&mut self, write: Write) {
        self.writes.push(write);
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
    }

    /// Whether one of these sets comes back with the writes.
    pub(super) fn returns(&self, writes: &[Write]) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut retired = going(&self.writes);
        retired.extend(going(&self.leaving));
        let coming = writes.iter().filter(|write| !write.removes());
        let mut coming = coming.filter_map(Write::whole_set);
        coming.any(|set| retired.contains(&set))
    }

    /// All of them, to be removed now. Whoever was asked for some of them is not heard any more.
    fn all(&mut self) -> Vec<Write> {
        self.asked += 1;
        self.due = None;
        let mut all = std::mem::take(&mut self.leaving);
        all.append(&mut self.writes);
        all
    }

    fn put_back(&mut self, writes: Vec<Write>) {
        self.writes.splice(0..0, writes);
        self.due = Some(Instant::now() + LINGER);
    }
}

impl Kernel {
    /// Asks for the end of the programs that are at work now; [`Kernel::programs_ended`] hears of it.
    pub(super) fn ask_for_retired(&mut self) -> Result<usize, KernelError> {
        let leaving = self.retired.all();
        self.retired.leaving = leaving;
        match self.retired.ask.send(self.retired.asked) {
            Ok(()) => Ok(0),
            // Nobody is there to wait on the loop's behalf.
            Err(_) => self.remove_retired(),
        }
    }

    /// Removes what was retired before the question with this number.
    pub(super) fn programs_ended(
        &mut self,
        asked: u64,
        ended: io::Result<()>,
    ) -> Result<usize, KernelError> {
        if asked != self.retired.asked {
            return Ok(0);
        }
        let leaving = std::mem::take(&mut self.retired.leaving);
        if let Err(error) = ended {
            self.retired.put_back(leaving);
            return Err(KernelError::Barrier(error));
        }
        self.remove_rows(&leaving)
    }

    /// Removes all retired sets at once, after the wait.
    pub(super) fn remove_retired(&mut self) -> Result<usize, KernelError> {
        if self.retired.is_empty() {
            return Ok(0);
        }
        let all = self.retired.all();
        if let Err(error) = apply::wait_for_programs() {
            self.retired.put_back(all);
            return Err(KernelError::Barrier(error));
        }
        self.remove_rows(&all)
    }

    /// What could not be removed is found by the next full pass.
    fn remove_rows(&mut self, writes: &[Write]) -> Result<usize, KernelError> {
        for write in writes {
            self.maps.write(write)?;
            self.mirror.write(write);
        }
        self.memo.shrink();
        Ok(writes.len())
    }
}

/// Sets that the writes remove.
pub(super) fn going(writes: &[Write]) -> BTreeSet<SetId> {
    let removals = writes.iter().filter(|write| write.removes());
    removals.filter_map(Write::whole_set).collect()
}

/// Whether a write removes rows that a program may still need which has found their set a moment ago: those of a set that goes, its
/// own and those beside it under its number.
pub(super) fn takes_set_away(write: &Write, going: &BTreeSet<SetId>) -> bool {
    write.removes() && write.set().is_some_and(|set| going.contains(&set))
}
