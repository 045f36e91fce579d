//! How many requests are served at once.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// More wait in the socket's queue.
const CONCURRENT: usize = 64;

/// Counts requests being served.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A request being served.
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    /// Waits until there is room for one more.
    pub(super) fn take(self: &Arc<Self>) -> Slot {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .freed
            .wait_while(taken, |taken| *taken >= CONCURRENT)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Slot(Arc::clone(self))
    }

    /// False if requests are still being served at the deadline.
    pub(super) fn wait_idle(&self, deadline: Instant) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, _) = self
            .freed
            .wait_timeout_while(taken, patience, |taken| *taken > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *taken == 0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_all();
    }
}
