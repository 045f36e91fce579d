//! Who reaches whom: as it should be, and as it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use weft_wait::patience::patient;

use super::change::{Change, Verb};
use super::{Member, PORT};
use crate::cli::table;
use crate::probe::{self, Outcome};

/// How long a connection may take. All are tried at once, on one machine: an answer comes within a millisecond or so.
const DEADLINE: Duration = Duration::from_millis(900);

/// The networks of projects as the commands so far should have made them.
pub(super) struct Networks(BTreeMap<&'static str, Network>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// Reaches and is reached by every project.
    Global,
    /// The network that was made for this project.
    Of(&'static str),
}

impl Networks {
    pub(super) fn isolated(projects: &[&'static str]) -> Self {
        Self(
            projects
                .iter()
                .map(|project| (*project, Network::Of(project)))
                .collect(),
        )
    }

    pub(super) fn change(&mut self, change: &Change) {
        let new = match change.verb {
            Verb::Join(to) => self.0.get(to).copied().unwrap_or(Network::Of(to)),
            Verb::Isolate => Network::Of(change.project),
            Verb::Global => Network::Global,
        };
        self.0.insert(change.project, new);
    }

    fn connected(&self, from: &str, to: &str) -> bool {
        let (from, to) = (self.0.get(from), self.0.get(to));
        from == to || from == Some(&Network::Global) || to == Some(&Network::Global)
    }
}

/// One connection attempt for each ordered pair of pods and each address of the second.
pub(super) struct Measured(BTreeMap<(usize, usize), Vec<(IpAddr, Outcome)>>);

/// Tries all connections at the same time.
pub(super) fn measure(members: &[Member]) -> Result<Measured> {
    thread::scope(|scope| {
        let mut attempts = Vec::new();
        for (from, client) in members.iter().enumerate() {
            for (to, server) in members.iter().enumerate().filter(|(to, _)| *to != from) {
                for address in &server.pod.ips {
                    let connect = || {
                        probe::tcp(
                            &client.ns,
                            SocketAddr::new(*address, PORT),
                            patient(DEADLINE),
                        )
                    };
                    attempts.push(((from, to), *address, scope.spawn(connect)));
                }
            }
        }
        let mut measured: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (pair, address, attempt) in attempts {
            let outcome = attempt.join().map_err(|_| anyhow!("a probe panicked"))??;
            measured.entry(pair).or_default().push((address, outcome));
        }
        Ok(Measured(measured))
    })
}

impl Measured {
    /// Rows connect to columns; a cell is the client's address as the server saw it.
    pub(super) fn table(&self, members: &[Member]) -> String {
        let names: Vec<String> = members.iter().map(Member::name).collect();
        let mut header = vec!["from \\ to"];
        header.extend(names.iter().map(String::as_str));
        let mut table = table::plain(&header);
        for (from, name) in names.iter().enumerate() {
            let cells = (0..members.len()).map(|to| match self.0.get(&(from, to)) {
                Some(outcomes) => cell(outcomes),
                None => "(itself)".to_owned(),
            });
            table.add_row([name.clone()].into_iter().chain(cells));
        }
        table.trim_fmt()
    }

    /// Every connection that should have gone otherwise.
    pub(super) fn wrong(&self, members: &[Member], networks: &Networks) -> Vec<String> {
        let mut wrong = Vec::new();
        for ((from, to), outcomes) in &self.0 {
            let (Some(client), Some(server)) = (members.get(*from), members.get(*to)) else {
                continue;
            };
            let connected = networks.connected(&client.pod.namespace, &server.pod.namespace);
            for (address, outcome) in outcomes {
                let own = client
                    .pod
                    .ips
                    .iter()
                    .find(|own| own.is_ipv4() == address.is_ipv4());
                let right = match outcome {
                    Outcome::Reached {
                        peer_seen,
                        server: answered,
                    } => connected && Some(peer_seen) == own && *answered == server.name(),
                    Outcome::Silent => !connected,
                    Outcome::Refused | Outcome::Failed(_) => false,
                };
                if !right {
                    let wanted = if connected {
                        "connect"
                    } else {
                        "get no answer"
                    };
                    wrong.push(format!(
                        "{} should {wanted} to {} at {address}: {outcome:?}",
                        client.name(),
                        server.name(),
                    ));
                }
            }
        }
        wrong
    }
}

fn cell(outcomes: &[(IpAddr, Outcome)]) -> String {
    let reached = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.reached())
        .count();
    match outcomes.first() {
        Some((_, Outcome::Reached { peer_seen, .. })) if reached == outcomes.len() => {
            peer_seen.to_string()
        }
        _ if reached == 0 => "-".to_owned(),
        _ => "partly".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_is_mutual_isolation_takes_it_back_and_global_reaches_all() {
        let mut networks = Networks::isolated(&["a", "b", "c"]);
        assert!(networks.connected("a", "a") && !networks.connected("a", "b"));
        networks.change(&Change::join("b", "a"));
        assert!(
            networks.connected("a", "b")
                && networks.connected("b", "a")
                && !networks.connected("b", "c")
        );
        networks.change(&Change::isolate("b"));
        assert!(!networks.connected("a", "b"));
        networks.change(&Change::global("c"));
        assert!(
            networks.connected("a", "c")
                && networks.connected("c", "b")
                && !networks.connected("a", "b")
        );
    }
}
