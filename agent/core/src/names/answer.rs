//! What a server answered: addresses a family, read out of the records of one answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::failure::{Failure, Failures};
use crate::model::DnsName;

/// A record of an answer section that can count. Owners are text in lower case, without the trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name it belongs to.
    pub owner: String,
    /// How long it may be kept.
    pub ttl: Duration,
    /// What it says.
    pub data: RecordData,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME: another name to look at. It may be one that no [`DnsName`] can be.
    Alias(String),
}

/// The answer for one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Family {
    /// At least one address.
    Addresses {
        /// The addresses.
        addresses: BTreeSet<IpAddr>,
        /// The smallest TTL of the records that led to them.
        ttl: Duration,
    },
    /// The name exists and has no address of this family.
    Nothing,
    /// The family was not answered.
    Failed(Failure),
}

/// The answer of the first server that had at least one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub server: SocketAddr,
    /// The A records.
    pub v4: Family,
    /// The AAAA records.
    pub v6: Family,
}

/// How a lookup went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The servers that were asked in vain, in order.
    pub failures: Failures,
    /// The answer, unless no server had an address.
    pub answer: Option<Answer>,
}

impl Family {
    /// Reads the addresses of `name` out of an answer, following the aliases inside it, in whatever order they stand.
    ///
    /// Records that belong to other names do not count, nor do their TTLs.
    pub fn of(name: &DnsName, records: &[Record]) -> Self {
        let mut by_owner: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in records {
            by_owner.entry(&record.owner).or_default().push(record);
        }
        let mut addresses = BTreeSet::new();
        let mut ttl = Duration::MAX;
        let mut wanted = vec![name.as_str()];
        while let Some(owner) = wanted.pop() {
            // Taken out, so that a ring of aliases ends.
            for record in by_owner.remove(owner).unwrap_or_default() {
                ttl = ttl.min(record.ttl);
                match &record.data {
                    RecordData::Address(address) => {
                        addresses.insert(address.to_canonical());
                    }
                    RecordData::Alias(target) => wanted.push(target),
                }
            }
        }
        if addresses.is_empty() {
            return Self::Nothing;
        }
        Self::Addresses { addresses, ttl }
    }

    /// Whether there is an address.
    pub fn has_addresses(&self) -> bool {
        matches!(self, Self::Addresses { .. })
    }
}

impl Answer {
    /// The smaller TTL of the families that have addresses.
    pub fn ttl(&self) -> Duration {
        let ttls = [&self.v4, &self.v6].map(|family| match family {
            Family::Addresses { ttl, .. } => *ttl,
            Family::Nothing | Family::Failed(_) => Duration::MAX,
        });
        ttls[0].min(ttls[1])
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [&self.v4, &self.v6]
            .into_iter()
            .filter_map(|family| match family {
                Family::Addresses { addresses, .. } => Some(addresses),
                Family::Nothing | Family::Failed(_) => None,
            })
            .flatten()
            .copied()
    }

    /// Why a family is missing in it.
    pub fn failure(&self) -> Option<&Failure> {
        [&self.v4, &self.v6]
            .into_iter()
            .find_map(|family| match family {
                Family::Failed(failure) => Some(failure),
                Family::Addresses { .. } | Family::Nothing => None,
            })
    }
}
