//! Which names are wanted, and by whom.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry as MapEntry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::entry::{Entry, Phase};
use super::lanes::Urgency;
use super::{Names, ONCE_INTERVAL, Timer};
use crate::model::DnsName;

/// Names that only pods ask for, at once. Pods choose them, so there is an end.
const VISITORS_MAX: usize = 4096;
/// When every name is to be asked anew, they are spread over so much time a name.
const SPREAD_EACH: Duration = Duration::from_millis(1);

impl Names {
    /// Replaces the set of watched names.
    pub fn watch(&mut self, names: BTreeSet<DnsName>, now: Instant) {
        let watched = self.entries.iter().filter(|(_, entry)| entry.watched);
        let gone = watched.filter(|(name, _)| !names.contains(*name));
        let gone: Vec<DnsName> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.unwatch(&name);
        }
        for name in names {
            let entry = self.entries.entry(name.clone());
            let is_new = matches!(entry, MapEntry::Vacant(_));
            let entry = entry.or_insert_with(|| Box::new(Entry::new(now)));
            if entry.watched {
                continue;
            }
            entry.adopt(now);
            if !is_new {
                self.visitors -= 1;
            }
            if entry.phase == Phase::Idle {
                self.ask_at(&name, now);
            }
        }
    }

    fn unwatch(&mut self, name: &DnsName) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(end) = entry.ends.take() {
            self.schedule.remove(&(end, Timer::GraceEnd, name.clone()));
        }
        entry.forget();
        self.visitors += 1;
        if !entry.once {
            self.remove_visitor(name);
        }
    }

    pub(super) fn remove_visitor(&mut self, name: &DnsName) {
        let Some(entry) = self.entries.remove(name) else {
            return;
        };
        self.visitors -= 1;
        match entry.phase {
            Phase::Idle => {
                self.schedule.remove(&(entry.due, Timer::Ask, name.clone()));
            }
            Phase::Queued => {}
            Phase::Flying(id) => {
                self.lanes.drop_flight(id);
                self.stop.push(id);
            }
        }
    }

    /// Asks for a name now, watched or not, but not more than once a second; the answer is [`News::Once`].
    /// False if too many names are being asked in this way.
    pub fn resolve_now(&mut self, name: DnsName, now: Instant) -> bool {
        if !self.entries.contains_key(&name) {
            if self.visitors >= VISITORS_MAX {
                return false;
            }
            self.visitors += 1;
            self.entries.insert(name.clone(), Box::new(Entry::new(now)));
        }
        let Some(entry) = self.entries.get_mut(&name) else {
            return false;
        };
        let was_once = std::mem::replace(&mut entry.once, true);
        match entry.phase {
            Phase::Idle => {
                let allowed = entry.asked.map_or(now, |asked| asked + ONCE_INTERVAL);
                // Not `due` of a visitor: that is when it is forgotten.
                let at = if entry.watched && entry.due < allowed.max(now) {
                    entry.due
                } else {
                    allowed.max(now)
                };
                self.ask_at(&name, at);
            }
            Phase::Queued if !was_once && !entry.slow => {
                self.lanes.enqueue(name, false, Urgency::Once);
            }
            Phase::Queued | Phase::Flying(_) => {}
        }
        true
    }

    /// Replaces the servers; if they differ, every watched name is asked anew soon.
    pub fn set_servers(&mut self, servers: &[SocketAddr], now: Instant) {
        if self.servers.set(servers) {
            for entry in self.entries.values_mut() {
                // The new ones deserve a back-off of their own.
                entry.failures = 0;
            }
            self.ask_anew(|_| true, now);
        }
    }

    /// Moves the next lookup of some names forward, spread over a while.
    pub(super) fn ask_anew(&mut self, which: impl Fn(&Entry) -> bool, now: Instant) {
        let mut idle = Vec::new();
        for (name, entry) in &mut self.entries {
            if !entry.watched || !which(entry) {
                continue;
            }
            match entry.phase {
                Phase::Idle => idle.push((name.clone(), entry.due)),
                Phase::Queued => {}
                Phase::Flying(_) => entry.again = true,
            }
        }
        let names = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        let span = SPREAD_EACH.saturating_mul(names);
        for (name, due) in idle {
            let at = now + (self.pick)(span);
            self.ask_at(&name, at.min(due));
        }
    }

    /// Schedules an idle name.
    pub(super) fn ask_at(&mut self, name: &DnsName, at: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            self.schedule.remove(&(entry.due, Timer::Ask, name.clone()));
            entry.due = at;
            self.schedule.insert((at, Timer::Ask, name.clone()));
        }
    }
}
