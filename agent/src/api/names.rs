//! Addresses of the names in policies, and how the node knows them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use weft_core::compile::egress::name_number;
use weft_core::compile::project_key;
use weft_core::model::{DnsName, NamePattern, Problem, Subject, World};
use weft_core::names::{NameState, Resolution, Until};
use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::egress::{LearnedKey, LearnedName, LearnedRow};

use super::view::{KnownAddress, NameView, NameWord, Source};
use crate::observe::live::monotonic;

/// What is known of all names at one moment.
pub struct Known {
    /// What the resolver has of the names that it watches.
    resolutions: BTreeMap<DnsName, Resolution>,
    /// What pods were told and is not over, by project and name.
    told: HashMap<(ProjectKey, u64), Vec<(LearnedKey, LearnedName)>>,
    now: Instant,
    monotonic: u64,
}

impl Known {
    /// What is not over yet.
    pub fn new(
        resolutions: BTreeMap<DnsName, Resolution>,
        learned: &BTreeMap<LearnedKey, LearnedRow>,
    ) -> Self {
        Self::at(resolutions, learned, Instant::now(), monotonic())
    }

    fn at(
        resolutions: BTreeMap<DnsName, Resolution>,
        learned: &BTreeMap<LearnedKey, LearnedRow>,
        now: Instant,
        monotonic: u64,
    ) -> Self {
        let mut told = HashMap::<_, Vec<_>>::new();
        for (key, row) in learned {
            for slot in row.names.iter().filter(|slot| slot.expires > monotonic) {
                let names = told.entry((key.project, slot.name)).or_default();
                names.push((*key, *slot));
            }
        }
        Self {
            resolutions,
            told,
            now,
            monotonic,
        }
    }

    /// The addresses for which a rule by this name counts in a project.
    pub fn addresses(
        &self,
        world: &World,
        project: &str,
        pattern: &NamePattern,
    ) -> Vec<KnownAddress> {
        let resolved = world.resolved.get(pattern).into_iter().flatten();
        let resolved = resolved.map(|ip| KnownAddress {
            ip: *ip,
            name: pattern.to_string(),
            source: Source::Resolver,
            pod: None,
            seconds_left: self.grace(pattern, *ip),
        });
        let key = (project_key(project), name_number(pattern));
        let told = self.told.get(&key).into_iter().flatten();
        let told = told.map(|(key, slot)| KnownAddress {
            ip: key.addr.to_ip(),
            name: pattern.to_string(),
            source: Source::Answer,
            pod: pod(world, slot.ifindex),
            seconds_left: Some(slot.expires.saturating_sub(self.monotonic) / 1_000_000_000),
        });
        resolved.chain(told).collect()
    }

    /// Seconds for which an address stays that is not in the latest answer.
    fn grace(&self, pattern: &NamePattern, ip: IpAddr) -> Option<u64> {
        match self.resolution(pattern)?.addresses.get(&ip)? {
            Until::Held => None,
            Until::Grace(end) => Some(self.until(*end)),
        }
    }

    fn resolution(&self, pattern: &NamePattern) -> Option<&Resolution> {
        match pattern {
            NamePattern::Exact(name) => self.resolutions.get(name),
            NamePattern::Below(_) => None,
        }
    }

    fn until(&self, then: Instant) -> u64 {
        then.saturating_duration_since(self.now).as_secs()
    }

    /// How the resolver fares with a name; none if it does not watch it: a wildcard, or a name that no pod here needs.
    pub fn state(&self, pattern: &NamePattern) -> Option<NameView> {
        let view = |state, next, ttl: Option<Duration>, error: Option<String>| NameView {
            state,
            ttl: ttl.map(|ttl| ttl.as_secs()),
            next: self.until(next),
            error: error.unwrap_or_default(),
        };
        Some(match &self.resolution(pattern)?.state {
            NameState::Unresolved {
                since: _,
                error,
                next_try,
            } => {
                let error = error.as_ref().map(ToString::to_string);
                view(NameWord::Unresolved, *next_try, None, error)
            }
            NameState::Resolved {
                ttl,
                answered: _,
                next_refresh,
                server: _,
                missing,
            } => {
                let missing = missing.as_ref().map(ToString::to_string);
                view(NameWord::Resolved, *next_refresh, Some(*ttl), missing)
            }
            NameState::Stale {
                since: _,
                error,
                next_try,
                ttl,
                answered: _,
                server: _,
            } => {
                let error = Some(error.to_string());
                view(NameWord::Stale, *next_try, Some(*ttl), error)
            }
        })
    }
}

/// Unresolved names that status lists one by one.
const LISTED: usize = 20;

/// Names that no server has given an address for: what rules by them do is not what they say.
pub fn problems(names: &BTreeMap<DnsName, Resolution>) -> Vec<Problem> {
    let unresolved: Vec<_> = names
        .iter()
        .filter_map(|(name, resolution)| match &resolution.state {
            NameState::Unresolved { error, .. } => Some((name, error.as_ref()?)),
            _ => None,
        })
        .collect();
    let mut problems: Vec<_> = unresolved
        .iter()
        .take(LISTED)
        .map(|(name, error)| Problem {
            object: Subject::Name(NamePattern::Exact(DnsName::clone(name))),
            message: format!(
                "is unresolved: {error}; rules by it, Deny as well as Allow, match only addresses that pods were told"
            ),
        })
        .collect();
    if let Some(more @ 1..) = unresolved.len().checked_sub(LISTED) {
        problems.push(Problem {
            object: Subject::Part("dnsName".into()),
            message: format!("{more} more names are unresolved: weft get egress-policies --rules"),
        });
    }
    problems
}

/// The pod behind an interface.
pub fn pod(world: &World, ifindex: u32) -> Option<String> {
    let mut endpoints = world.endpoints.values();
    let found = endpoints.find(|it| it.host_ifindex == ifindex)?;
    Some(format!("{}/{}", found.project, found.pod))
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
