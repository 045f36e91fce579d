//! Requests by command and outcome, and the time they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The commands the agent serves, in the order of [`Metrics::snapshot`].
pub const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

#[derive(Debug, Default)]
struct Cell {
    count: AtomicU64,
    micros: AtomicU64,
    longest_micros: AtomicU64,
}

/// Counters since start.
#[derive(Debug, Default)]
pub struct Metrics {
    cells: [[Cell; 2]; VERBS.len()],
}

/// One command with one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// One of [`VERBS`].
    pub verb: &'static str,
    /// `ok` or `error`
    pub result: &'static str,
    /// Requests.
    pub count: u64,
    /// Their time in the agent, added up.
    pub total: Duration,
    /// The slowest.
    pub longest: Duration,
}

impl Metrics {
    pub(super) fn record(&self, verb: &str, ok: bool, took: Duration) {
        let Some(row) = VERBS.iter().position(|v| *v == verb) else {
            return;
        };
        let cell = &self.cells[row][usize::from(!ok)];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        cell.count.fetch_add(1, Ordering::Relaxed);
        cell.micros.fetch_add(micros, Ordering::Relaxed);
        cell.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// Every command with both outcomes.
    pub fn snapshot(&self) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(2 * VERBS.len());
        for (verb, row) in VERBS.into_iter().zip(&self.cells) {
            for (result, cell) in ["ok", "error"].into_iter().zip(row) {
                samples.push(Sample {
                    verb,
                    result,
                    count: cell.count.load(Ordering::Relaxed),
                    total: Duration::from_micros(cell.micros.load(Ordering::Relaxed)),
                    longest: Duration::from_micros(cell.longest_micros.load(Ordering::Relaxed)),
                });
            }
        }
        samples
    }
}
