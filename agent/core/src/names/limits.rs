//! How long things hold: TTLs, grace, back-off.

use std::time::Duration;

/// The first wait after a failure; each further one doubles it.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The longest wait of a name that was never answered, or only with a shorter TTL.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// The longest wait of any name: a server that comes back is noticed, whatever the TTL was.
const BACK_OFF_MAX_ANSWERED: Duration = Duration::from_mins(5);
/// The shortest grace, unless the configuration says otherwise.
const GRACE_MIN: Duration = Duration::from_secs(30);
/// The most that a refresh comes after its TTL, so that names do not refresh in step.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Bounds of what answers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The shortest TTL; a smaller one, and 0, counts as this.
    pub min_ttl: Duration,
    /// The longest TTL.
    pub max_ttl: Duration,
    /// How long an address stays after it dropped out of an answer; `None`: one TTL, at least 30 s.
    pub grace: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_mins(30),
            grace: None,
        }
    }
}

impl Limits {
    /// The TTL that counts.
    pub(super) fn ttl(&self, said: Duration) -> Duration {
        said.max(self.min_ttl).min(self.max_ttl)
    }

    /// How long an address stays that was announced with `old` and is missing in an answer with `new`.
    pub fn grace(&self, old: Duration, new: Duration) -> Duration {
        self.grace.unwrap_or(old.max(new).max(GRACE_MIN))
    }

    /// The wait after so many failures in a row of a name whose last answer had `ttl`.
    pub(super) fn back_off(failures: u32, ttl: Option<Duration>) -> Duration {
        let most = ttl.map_or(BACK_OFF_MAX, |ttl| {
            ttl.clamp(BACK_OFF_MAX, BACK_OFF_MAX_ANSWERED)
        });
        let doublings = failures.saturating_sub(1).min(31);
        BACK_OFF.saturating_mul(1 << doublings).min(most)
    }

    /// The most that a refresh is late. Never early: a server that answers from its cache would only repeat itself.
    pub(super) fn lateness(ttl: Duration) -> Duration {
        (ttl / 20).min(LATE_MAX)
    }
}
