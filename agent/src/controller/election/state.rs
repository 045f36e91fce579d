//! Who holds the lease, and what to write next. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// How long others keep away after the last renewal that they saw.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How long the holder itself goes on after its last renewal. The rest of the lease is for a write that is on its way.
pub(super) const HOLD: Duration = Duration::from_secs(10);
/// Between two looks at the lease.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(2);

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty if it was given up.
    pub(super) holder: String,
    /// Its holder's, which may be of another version than we are.
    pub(super) duration: Duration,
    /// Only compared: clocks of machines differ.
    pub(super) renewed: String,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// There is no lease: make it ours.
    Create,
    /// It is free, or its holder has not been seen for too long.
    Take,
    /// It is ours.
    Renew,
}

/// One candidate's view. Time is counted from when a change was seen here, so that no clock of another machine matters.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    seen: Option<(Record, Instant)>,
    /// Start of the last write of ours that was accepted.
    renewed: Option<Instant>,
}

impl Election {
    pub(super) fn new(me: String) -> Self {
        Self {
            me,
            seen: None,
            renewed: None,
        }
    }

    /// Takes in what the lease is now.
    pub(super) fn look(&mut self, lease: Option<Record>, now: Instant) -> Step {
        let Some(record) = lease else {
            self.seen = None;
            self.renewed = None;
            return Step::Create;
        };
        if self.seen.as_ref().is_none_or(|(old, _)| *old != record) {
            self.seen = Some((record.clone(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        if record.holder == self.me {
            let due = self.renewed.is_none_or(|last| now - last >= RENEW);
            return if due { Step::Renew } else { Step::Wait };
        }
        self.renewed = None;
        let expired = now - since >= record.duration;
        if record.holder.is_empty() || expired {
            Step::Take
        } else {
            Step::Wait
        }
    }

    /// A write of ours was accepted; `started` is when it was sent.
    pub(super) fn wrote(&mut self, started: Instant) {
        self.renewed = Some(started);
    }

    /// Until when this candidate may act.
    pub(super) fn holds_until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + HOLD)
    }

    /// Whose the lease was when it was last looked at.
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|(record, _)| record.holder.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, renewed: u32) -> Record {
        Record {
            holder: holder.into(),
            duration: LEASE,
            renewed: renewed.to_string(),
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_free_lease_is_taken_at_once() {
        let start = Instant::now();
        let mut me = Election::new("me".into());
        assert_eq!(me.look(None, start), Step::Create, "there is none");
        assert_eq!(me.holds_until(), None, "nothing was accepted yet");
        me.wrote(start);
        assert_eq!(me.holds_until(), Some(start + HOLD));
        let mut me = Election::new("me".into());
        assert_eq!(
            me.look(Some(record("", 1)), start),
            Step::Take,
            "it was given up"
        );
    }

    #[test]
    fn a_holder_that_renews_is_left_alone() {
        let start = Instant::now();
        let mut me = Election::new("me".into());
        for second in 0..60 {
            let step = me.look(
                Some(record("other", u32::try_from(second / 10).unwrap())),
                start + seconds(second),
            );
            assert_eq!(step, Step::Wait, "second {second}");
        }
        assert_eq!(me.holder(), Some("other"));
        assert_eq!(me.holds_until(), None);
    }

    #[test]
    fn a_silent_holder_is_followed_after_its_lease() {
        let start = Instant::now();
        let mut me = Election::new("me".into());
        assert_eq!(me.look(Some(record("other", 1)), start), Step::Wait);
        let almost = start + LEASE.saturating_sub(Duration::from_millis(1));
        assert_eq!(me.look(Some(record("other", 1)), almost), Step::Wait);
        assert_eq!(me.look(Some(record("other", 1)), start + LEASE), Step::Take);
        let renewed = me.look(Some(record("other", 2)), start + LEASE);
        assert_eq!(
            renewed,
            Step::Wait,
            "it lives after all, and our clock starts anew"
        );
        let longer = Record {
            duration: seconds(40),
            ..record("other", 3)
        };
        me.look(Some(longer.clone()), start);
        assert_eq!(
            me.look(Some(longer), start + seconds(39)),
            Step::Wait,
            "its own duration counts"
        );
    }

    #[test]
    fn the_holder_renews_in_time_and_stops_before_others_start() {
        let start = Instant::now();
        let mut me = Election::new("me".into());
        me.look(None, start);
        me.wrote(start);
        assert_eq!(
            me.look(Some(record("me", 1)), start + seconds(1)),
            Step::Wait
        );
        assert_eq!(
            me.look(Some(record("me", 1)), start + seconds(2)),
            Step::Renew
        );
        assert_eq!(
            me.holds_until(),
            Some(start + HOLD),
            "a renewal that was not accepted is none"
        );
        assert!(
            HOLD < LEASE,
            "others start only after the holder has stopped"
        );
    }

    #[test]
    fn a_lost_lease_is_lost_at_once() {
        let start = Instant::now();
        let mut me = Election::new("me".into());
        me.look(None, start);
        me.wrote(start);
        assert_eq!(
            me.look(Some(record("other", 1)), start + seconds(1)),
            Step::Wait
        );
        assert_eq!(me.holds_until(), None, "somebody took it");
        me.wrote(start);
        assert_eq!(me.look(None, start + seconds(1)), Step::Create);
        assert_eq!(me.holds_until(), None, "somebody removed it");
    }

    #[test]
    fn a_lease_of_ours_from_before_is_renewed_before_it_counts() {
        let mut me = Election::new("me".into());
        let step = me.look(Some(record("me", 1)), Instant::now());
        assert_eq!(step, Step::Renew);
        assert_eq!(me.holds_until(), None);
    }
}
