//! What happens over time: lookups start and end, answers are taken in, graces end.

use std::time::{Duration, Instant};

use super::answer::Report;
use super::entry::Phase;
use super::lanes::{Move, PATIENCE, Urgency};
use super::limits::Limits;
use super::{Lookup, LookupId, Names, News, ONCE_INTERVAL, Step, Timer};
use crate::model::DnsName;

/// When a server comes back, failing names do not wait for their back-off to end; but at most so often, since a
/// server can also seem away because of the names that it is asked for.
const BACK_INTERVAL: Duration = Duration::from_secs(30);

impl Names {
    /// A lookup has ended.
    pub fn finished(&mut self, id: LookupId, report: Report, now: Instant) {
        let Some((name, started)) = self.lanes.drop_flight(id) else {
            return;
        };
        let back = self.judge_servers(&report, now);
        let Some(entry) = self.entries.get_mut(&name) else {
            return;
        };
        if entry.phase != Phase::Flying(id) {
            return;
        }
        entry.phase = Phase::Idle;
        entry.slow = now.saturating_duration_since(started) > PATIENCE;
        let once = std::mem::take(&mut entry.once);
        let again = std::mem::take(&mut entry.again);
        let answer = report.answer.filter(|a| a.addresses().next().is_some());
        if let (true, Some(answer)) = (once, &answer) {
            let ttl = self.limits.ttl(answer.ttl());
            let addresses = answer.addresses().collect();
            let news = News::Once(name.clone(), addresses, ttl);
            self.answered_once.push(news);
        }
        if entry.watched {
            let (changed, wait) = match answer {
                Some(answer) => entry.answered(&answer, &self.limits, now),
                None => entry.failed(report.failures, now),
            };
            if changed {
                self.changed.insert(name.clone());
            }
            let late = (self.pick)(Limits::lateness(wait));
            let wait = if again { Duration::ZERO } else { wait };
            self.ask_at(&name, now + wait + late);
            self.schedule_end(&name);
        } else {
            // Remembered for a while, so that it is not asked more often.
            self.ask_at(&name, started + ONCE_INTERVAL);
        }
        let recent = |at: Instant| at + BACK_INTERVAL > now;
        if back && !self.last_back.is_some_and(recent) {
            self.last_back = Some(now);
            self.ask_anew(|entry| entry.failures > 0, now);
        }
    }

    /// Takes note of who answered; tells whether a server came back.
    fn judge_servers(&mut self, report: &Report, now: Instant) -> bool {
        let mut back = false;
        for (server, failure) in &report.failures.0 {
            if failure.is_silence() {
                self.servers.silent(*server, now);
            } else {
                back |= self.servers.heard(*server);
            }
        }
        if let Some(answer) = &report.answer {
            back |= self.servers.heard(answer.server);
        }
        back
    }

    fn schedule_end(&mut self, name: &DnsName) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(end) = entry.ends {
            self.schedule.remove(&(end, Timer::GraceEnd, name.clone()));
        }
        entry.ends = entry.next_end();
        if let Some(end) = entry.ends {
            self.schedule.insert((end, Timer::GraceEnd, name.clone()));
        }
    }

    /// Does what is due.
    pub fn advance(&mut self, now: Instant) -> Step {
        while let Some((at, _, _)) = self.schedule.first()
            && *at <= now
            && let Some((_, timer, name)) = self.schedule.pop_first()
        {
            match timer {
                Timer::Ask => self.ask(&name),
                Timer::GraceEnd => self.end_grace(&name, now),
            }
        }
        let mut start = Vec::new();
        while let Some(next) = self.lanes.next_move(now) {
            match next {
                Move::Start(id, name) => start.extend(self.start(id, name, now)),
                Move::Cut(id, name) => {
                    self.stop.push(id);
                    if let Some(entry) = self.entries.get_mut(&name) {
                        entry.slow = true;
                        entry.phase = Phase::Queued;
                    }
                }
            }
        }
        let entries = &self.entries;
        let changed = std::mem::take(&mut self.changed).into_iter();
        let changed = changed.filter_map(|name| {
            let entry = entries.get(&name).filter(|entry| entry.watched)?;
            Some(News::Changed(name, entry.resolution()))
        });
        let mut news: Vec<News> = changed.collect();
        news.append(&mut self.answered_once);
        Step {
            stop: std::mem::take(&mut self.stop),
            start,
            news,
        }
    }

    fn ask(&mut self, name: &DnsName) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if !entry.watched && !entry.once {
            self.remove_visitor(name);
            return;
        }
        entry.phase = Phase::Queued;
        let urgency = if entry.once {
            Urgency::Once
        } else {
            Urgency::Watched
        };
        self.lanes.enqueue(name.clone(), entry.slow, urgency);
    }

    fn end_grace(&mut self, name: &DnsName, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.ends = None;
            if entry.expire(now) {
                self.changed.insert(name.clone());
            }
            self.schedule_end(name);
        }
    }

    fn start(&mut self, id: LookupId, name: DnsName, now: Instant) -> Option<Lookup> {
        match self.entries.get_mut(&name) {
            Some(entry) if entry.phase == Phase::Queued => {
                entry.phase = Phase::Flying(id);
                entry.asked = Some(now);
                let servers = self.servers.order(now);
                Some(Lookup { id, name, servers })
            }
            // Forgotten while it waited, or it waited in two lines.
            _ => {
                self.lanes.drop_flight(id);
                None
            }
        }
    }
}
