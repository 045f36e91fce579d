//! Requests by command and outcome, and the time they took.

use std::time::Duration;

use crate::figures::{Durations, Reading};

/// The commands the agent serves, in the order of [`Metrics::snapshot`].
pub const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/// Counters since start.
#[derive(Debug, Default)]
pub struct Metrics {
    cells: [[Durations; 2]; VERBS.len()],
}

/// One command with one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// One of [`VERBS`].
    pub verb: &'static str,
    /// `ok` or `error`
    pub result: &'static str,
    /// Their number, and their time in the agent.
    pub took: Reading,
}

impl Metrics {
    pub(crate) fn record(&self, verb: &str, ok: bool, took: Duration) {
        let Some(row) = VERBS.iter().position(|v| *v == verb) else {
            return;
        };
        self.cells[row][usize::from(!ok)].record(took);
    }

    /// Every command with both outcomes.
    pub fn snapshot(&self) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(2 * VERBS.len());
        for (verb, row) in VERBS.into_iter().zip(&self.cells) {
            for (result, cell) in ["ok", "error"].into_iter().zip(row) {
                samples.push(Sample {
                    verb,
                    result,
                    took: cell.read(),
                });
            }
        }
        samples
    }
}
