//! How often something took how long.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::MetricEncoder;

/// Upper bounds in microseconds, each some four times the one before: from what nothing to do takes to a CNI request's patience.
const BOUNDS: [u64; 9] = [
    500, 2_000, 8_000, 32_000, 125_000, 500_000, 2_000_000, 8_000_000, 32_000_000,
];

/// Counts durations; shared between threads.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Not added up; the last has no bound.
    buckets: [u64; BOUNDS.len() + 1],
    micros: u64,
}

impl Durations {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn read(&self) -> Reading {
        Reading {
            buckets: self
                .buckets
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
            micros: self.micros.load(Ordering::Relaxed),
        }
    }
}

impl Reading {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their time, added up.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    pub(super) fn write(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS.map(|micros| Duration::from_micros(micros).as_secs_f64());
        let bounds = bounds.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.buckets).collect();
        encoder.encode_histogram::<[(&str, &str); 0]>(
            self.total().as_secs_f64(),
            self.count(),
            &buckets,
            None,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Family, written};
    use super::*;

    #[test]
    fn a_histogram_is_written_as_prometheus_reads_it() {
        let durations = Durations::default();
        for micros in [100, 500, 501, 60_000_000] {
            durations.record(Duration::from_micros(micros));
        }
        let rows = vec![(vec![("verb", "ADD".into())], durations.read())];
        let text = written(vec![Family::histogram("weft_x_seconds", "X", rows)]);
        for line in [
            "# TYPE weft_x_seconds histogram",
            "weft_x_seconds_bucket{le=\"0.0005\",verb=\"ADD\"} 2",
            "weft_x_seconds_bucket{le=\"0.002\",verb=\"ADD\"} 3",
            "weft_x_seconds_bucket{le=\"32.0\",verb=\"ADD\"} 3",
            "weft_x_seconds_bucket{le=\"+Inf\",verb=\"ADD\"} 4",
            "weft_x_seconds_count{verb=\"ADD\"} 4",
            "weft_x_seconds_sum{verb=\"ADD\"} 60.001101",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in:\n{text}");
        }
    }
}
