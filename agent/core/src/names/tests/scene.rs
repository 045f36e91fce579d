//! A clock, scripted servers, and everything that the machine told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::super::{
    Answer, Failure, Failures, Family, Limits, Lookup, Names, News, Report, Resolution, Until,
};
use crate::model::DnsName;

pub const SECOND: Duration = Duration::from_secs(1);

pub struct Scene {
    pub names: Names,
    pub start: Instant,
    pub now: Instant,
    pub news: Vec<News>,
    /// Lookups that were started and have not ended.
    pub running: Vec<Lookup>,
    /// Each start of a lookup: name and time since the beginning.
    pub asked: Vec<(String, Duration)>,
    pub stopped: usize,
}

pub fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

pub fn set(names: &[&str]) -> BTreeSet<DnsName> {
    names.iter().map(|text| name(text)).collect()
}

pub fn server(n: u8) -> SocketAddr {
    (IpAddr::from([192, 0, 2, n]), 53).into()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn family(addresses: &[&str], ttl: u64) -> Family {
    if addresses.is_empty() {
        return Family::Nothing;
    }
    Family::Addresses {
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ttl: Duration::from_secs(ttl),
    }
}

/// The first server answers with these A records and no AAAA records.
pub fn v4(addresses: &[&str], ttl: u64) -> Report {
    both(family(addresses, ttl), Family::Nothing)
}

pub fn both(v4: Family, v6: Family) -> Report {
    let server = server(1);
    Report {
        failures: Failures::default(),
        answer: Some(Answer { server, v4, v6 }),
    }
}

pub fn fails(failure: Failure) -> Report {
    Report {
        failures: Failures(vec![(server(1), failure)]),
        answer: None,
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::picking(limits, |_| Duration::ZERO)
    }

    pub fn picking(limits: Limits, pick: fn(Duration) -> Duration) -> Self {
        let now = Instant::now();
        let mut names = Names::new(limits, Box::new(pick));
        names.set_servers(&[server(1)], now);
        Self {
            names,
            start: now,
            now,
            news: Vec::new(),
            running: Vec::new(),
            asked: Vec::new(),
            stopped: 0,
        }
    }

    pub fn watch(&mut self, names: &[&str]) {
        self.names.watch(set(names), self.now);
        self.step();
    }

    pub fn step(&mut self) {
        let step = self.names.advance(self.now);
        self.stopped += step.stop.len();
        self.running
            .retain(|lookup| !step.stop.contains(&lookup.id));
        for lookup in step.start {
            let at = self.now - self.start;
            self.asked.push((lookup.name.to_string(), at));
            self.running.push(lookup);
        }
        self.news.extend(step.news);
    }

    /// Lets time pass, and whatever is due happen on time.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.names.next_at().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
        self.step();
    }

    /// The only lookup of the name that runs ends like this.
    #[track_caller]
    pub fn answer(&mut self, text: &str, report: Report) {
        let of_name = |lookup: &Lookup| lookup.name.as_str() == text;
        let at = self.running.iter().position(of_name);
        let lookup = self.running.remove(at.expect("the name is being asked"));
        assert!(!self.running.iter().any(of_name), "asked once at a time");
        self.names.finished(lookup.id, report, self.now);
        self.step();
    }

    /// Answers every lookup as it starts, for a while.
    pub fn pass_answering(&mut self, time: Duration, report: &Report) {
        let end = self.now + time;
        loop {
            while let Some(lookup) = self.running.pop() {
                self.names.finished(lookup.id, report.clone(), self.now);
                self.step();
            }
            match self.names.next_at().filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            self.step();
        }
        self.now = end;
    }

    pub fn is_asked(&self, text: &str) -> bool {
        self.running
            .iter()
            .any(|lookup| lookup.name.as_str() == text)
    }

    #[track_caller]
    pub fn resolution(&self, text: &str) -> Resolution {
        self.names.snapshot()[&name(text)].clone()
    }

    /// Addresses in force, with the seconds of grace that are left.
    pub fn held(&self, text: &str) -> BTreeMap<String, Option<u64>> {
        let addresses = self.resolution(text).addresses.into_iter();
        addresses
            .map(|(address, until)| match until {
                Until::Held => (address.to_string(), None),
                Until::Grace(end) => (address.to_string(), Some((end - self.now).as_secs())),
            })
            .collect()
    }

    pub fn changes(&mut self) -> usize {
        let changes = std::mem::take(&mut self.news).into_iter();
        changes
            .filter(|news| matches!(news, News::Changed(..)))
            .count()
    }

    /// When a name was asked, in whole seconds.
    pub fn asked_at(&self, text: &str) -> Vec<u64> {
        let of_name = self.asked.iter().filter(|(name, _)| name == text);
        of_name.map(|(_, at)| at.as_secs()).collect()
    }
}

pub fn held(addresses: &[(&str, Option<u64>)]) -> BTreeMap<String, Option<u64>> {
    let owned = addresses
        .iter()
        .map(|(text, grace)| ((*text).to_owned(), *grace));
    owned.collect()
}
