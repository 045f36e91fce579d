//! Which lookups run at once. Names that take long must not hold up names that do not.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::DnsName;

/// A lookup under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(u64);

/// Lookups at once in the fast lane. Each may hold six sockets for a while: two families, sent up to three times.
const FAST: usize = 64;
/// Lookups at once in the slow lane.
const SLOW: usize = 32;
/// A lookup that takes longer leaves the fast lane as soon as others wait for its place, and its name starts in
/// the slow lane from then on.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// Who waits for a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A policy's name; it takes turns with those of pods.
    Watched,
    /// A pod has just asked for the name.
    Once,
}

#[derive(Debug)]
struct Flight {
    name: DnsName,
    started: Instant,
    slow: bool,
}

/// Waiting and running lookups. Names that were taken out of the waiting lines are passed over at their turn.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    last_id: u64,
    flights: BTreeMap<LookupId, Flight>,
    slow_flights: usize,
    /// The fast lane, the oldest first; lookups that have ended are passed over.
    fast: VecDeque<LookupId>,
    waiting: [VecDeque<DnsName>; 2],
    waiting_slow: VecDeque<DnsName>,
    turn: usize,
}

/// What is to be done to let lookups start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The next name may start, as this lookup. The caller says with [`Lanes::drop_flight`] if it is not wanted.
    Start(LookupId, DnsName),
    /// This lookup ends unfinished and waits for a place in the slow lane.
    Cut(LookupId, DnsName),
}

impl Lanes {
    /// Lines a name up.
    pub(super) fn enqueue(&mut self, name: DnsName, slow: bool, urgency: Urgency) {
        match (slow, urgency) {
            (true, _) => self.waiting_slow.push_back(name),
            (false, Urgency::Watched) => self.waiting[0].push_back(name),
            (false, Urgency::Once) => self.waiting[1].push_back(name),
        }
    }

    /// The next move, if there is one now.
    pub(super) fn next_move(&mut self, now: Instant) -> Option<Move> {
        if self.slow_flights < SLOW
            && let Some(name) = self.waiting_slow.pop_front()
        {
            return Some(self.start(name, true, now));
        }
        if self.waiting.iter().all(VecDeque::is_empty) {
            return None;
        }
        if self.flights.len() - self.slow_flights >= FAST {
            let oldest = self.oldest_fast()?;
            let flight = self.flights.get_mut(&oldest)?;
            if flight.started + PATIENCE > now {
                return None;
            }
            self.fast.pop_front();
            if self.slow_flights >= SLOW {
                let name = flight.name.clone();
                self.flights.remove(&oldest);
                self.waiting_slow.push_back(name.clone());
                return Some(Move::Cut(oldest, name));
            }
            flight.slow = true;
            self.slow_flights += 1;
        }
        self.turn ^= 1;
        let turn = self.turn;
        let next = self.waiting[turn].pop_front();
        let name = next.or_else(|| self.waiting[turn ^ 1].pop_front())?;
        Some(self.start(name, false, now))
    }

    fn start(&mut self, name: DnsName, slow: bool, now: Instant) -> Move {
        self.last_id += 1;
        let id = LookupId(self.last_id);
        let flight = Flight {
            name: name.clone(),
            started: now,
            slow,
        };
        self.flights.insert(id, flight);
        if slow {
            self.slow_flights += 1;
        } else {
            self.fast.push_back(id);
        }
        Move::Start(id, name)
    }

    fn oldest_fast(&mut self) -> Option<LookupId> {
        while let Some(id) = self.fast.front() {
            if self.flights.get(id).is_some_and(|flight| !flight.slow) {
                return Some(*id);
            }
            self.fast.pop_front();
        }
        None
    }

    /// A lookup has ended, or is not wanted any more: its name, and when it started.
    pub(super) fn drop_flight(&mut self, id: LookupId) -> Option<(DnsName, Instant)> {
        let flight = self.flights.remove(&id)?;
        if flight.slow {
            self.slow_flights -= 1;
        }
        // Else the line grows with every lookup while nobody waits.
        self.oldest_fast();
        Some((flight.name, flight.started))
    }

    /// When a lookup of the fast lane has to make room, if somebody waits for it.
    pub(super) fn next_end(&mut self) -> Option<Instant> {
        if self.waiting.iter().all(VecDeque::is_empty) {
            return None;
        }
        let oldest = self.oldest_fast()?;
        Some(self.flights.get(&oldest)?.started + PATIENCE)
    }

    /// How many lookups run.
    pub(super) fn running(&self) -> usize {
        self.flights.len()
    }
}
