//! Domain names and the addresses they stand for: when to ask, what an answer means, what stays in force.
//!
//! [`Names`] is a state machine without I/O. Its owner calls [`Names::advance`], runs the lookups that it starts,
//! brings their reports back, and calls again no later than [`Names::next_at`].
//!
//! What holds:
//! - A failure never takes an address away. Only an answer does, and after a grace.
//! - A name waits for no other name's lookup: what takes long leaves the fast lane.
//! - An address that dropped out ends on time, also while lookups fail.

mod answer;
mod cycle;
mod entry;
mod failure;
mod held;
mod interest;
mod lanes;
mod limits;
mod resolution;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::model::DnsName;
use entry::Entry;
use lanes::Lanes;
use servers::Servers;

pub use answer::{Answer, Family, Record, RecordData, Report};
pub use failure::{Failure, Failures};
pub use lanes::LookupId;
pub use limits::Limits;
pub use resolution::{NameState, Resolution, Until};

/// A pod may ask for a name as often as it likes; servers are asked for it at most so often.
const ONCE_INTERVAL: Duration = Duration::from_secs(1);

/// Picks a moment within a span: random, so that names do not go in step.
pub type Pick = Box<dyn FnMut(Duration) -> Duration + Send>;

/// All names.
pub struct Names {
    limits: Limits,
    pick: Pick,
    servers: Servers,
    /// Boxed, since the map's nodes are half empty.
    entries: BTreeMap<DnsName, Box<Entry>>,
    /// Names that nobody watches.
    visitors: usize,
    schedule: BTreeSet<(Instant, Timer, DnsName)>,
    lanes: Lanes,
    changed: BTreeSet<DnsName>,
    answered_once: Vec<News>,
    stop: Vec<LookupId>,
    /// When names were last asked anew because a server came back.
    last_back: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Ask,
    GraceEnd,
}

/// A lookup to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Its number.
    pub id: LookupId,
    /// The name.
    pub name: DnsName,
    /// The servers, in the order to ask them.
    pub servers: Vec<SocketAddr>,
}

/// What others want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Addresses of a watched name changed, or it became or ceased to be stale.
    Changed(DnsName, Resolution),
    /// The answer to [`Names::resolve_now`]: addresses and the TTL that counts.
    Once(DnsName, Vec<IpAddr>, Duration),
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Lookups to end; no report of them is wanted.
    pub stop: Vec<LookupId>,
    /// Lookups to run.
    pub start: Vec<Lookup>,
    /// What happened.
    pub news: Vec<News>,
}

impl Names {
    /// No names and no servers yet.
    pub fn new(limits: Limits, pick: Pick) -> Self {
        Self {
            limits,
            pick,
            servers: Servers::default(),
            entries: BTreeMap::new(),
            visitors: 0,
            schedule: BTreeSet::new(),
            lanes: Lanes::default(),
            changed: BTreeSet::new(),
            answered_once: Vec::new(),
            stop: Vec::new(),
            last_back: None,
        }
    }

    /// The servers, as configured.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.servers.addresses().collect()
    }

    /// When [`Self::advance`] has something to do next, if no lookup ends before.
    pub fn next_at(&mut self) -> Option<Instant> {
        let timer = self.schedule.first().map(|(at, _, _)| *at);
        let room = self.lanes.next_end();
        [timer, room].into_iter().flatten().min()
    }

    /// Lookups under way.
    pub fn running(&self) -> usize {
        self.lanes.running()
    }

    /// What is in force for every watched name.
    pub fn snapshot(&self) -> BTreeMap<DnsName, Resolution> {
        let watched = self.entries.iter().filter(|(_, entry)| entry.watched);
        watched
            .map(|(name, entry)| (name.clone(), entry.resolution()))
            .collect()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("entries", &self.entries)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
