//! What the loop can be asked, and what it does then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use weft_core::compile::Scope;
use weft_core::model::{Change, DnsName, Endpoint, EndpointId};
use weft_core::names::Resolution;
use weft_ebpf::rows::ProjectKey;

use super::kernel::KernelError;
use super::{FULL_PASS_INTERVAL, RETRY_FIRST, RETRY_LAST, Sync};
use crate::apply::iptables::IptablesReport;
use crate::bpf::maps::Maps;
use crate::cni::datapath::AttachError;
use crate::iptables::IptablesError;
use crate::observe::node::{NodeError, Underlay};
use crate::observe::removals::Suspect;
use crate::{dns, ingest, memory};

/// Changes that need a full pass are collected this long.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Changes with so many rules leave enough memory behind to look after it.
const MANY_RULES: usize = 10_000;

/// A request to the loop.
pub enum Request {
    /// News from the store.
    Ingest(ingest::Event),
    /// The node's addresses changed, or none of them will do any more.
    Node(Result<Underlay, NodeError>),
    /// The firewall rules were repaired, or could not be.
    Firewall(Result<IptablesReport, IptablesError>),
    /// News from the resolver.
    Dns(dns::Event),
    /// A pod asked for a name whose answer the data path could not read.
    Ask(DnsName),
    /// Something of ours may have been taken away.
    Suspects(BTreeSet<Suspect>),
    /// A pod of this project asked for a name that the data path could not read.
    AskAll(ProjectKey),
    /// The programs that were at work when this was asked for have ended, or nobody can tell.
    ProgramsEnded(u64, std::io::Result<()>),
    /// Attach an endpoint.
    Attach(Endpoint, SyncSender<Result<(), AttachError>>),
    /// Detach an endpoint.
    Detach(EndpointId, SyncSender<Result<(), AttachError>>),
    /// Check what the kernel holds for an endpoint.
    Verify(Endpoint, SyncSender<Result<(), AttachError>>),
    /// Read the maps.
    Read(Box<dyn FnOnce(&Maps) + Send>),
    /// What the resolver has of the names that it watches.
    Names(SyncSender<BTreeMap<DnsName, Resolution>>),
    /// End the loop. Everything in the kernel stays.
    Stop,
}

impl Sync {
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let retired = self.kernel.retired.due();
            if retired.is_some_and(|due| due <= Instant::now()) {
                let asked = self.kernel.ask_for_retired();
                self.note(asked);
            }
            let ends = [self.names.next_end(), self.kernel.retired.due()];
            let next = ends
                .into_iter()
                .flatten()
                .fold(self.next_pass, Instant::min);
            match requests.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(request) => self.handle(request),
                Err(RecvTimeoutError::Timeout) if self.next_pass <= Instant::now() => {
                    self.full_pass();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let changes = self.names.expire(Instant::now());
                    self.take(changes);
                }
            }
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Ingest(ingest::Event::Changes(changes)) => {
                let many = rules(&changes) >= MANY_RULES;
                self.take(changes);
                if many {
                    memory::give_back();
                }
            }
            Request::Ingest(ingest::Event::Problems(problems)) => {
                self.shared.object_problems(problems);
            }
            Request::Ingest(ingest::Event::Synced) => {
                // What pods of the last run could reach by name stays so while the resolver finds its own answers.
                let now = Instant::now();
                let adopted = self
                    .names
                    .adopt(&self.kernel.mirror, &self.shared.world(), now);
                self.take(adopted);
                self.synced = true;
                self.follow_names();
                self.full_pass();
            }
            Request::Dns(event) => self.dns(event),
            Request::Ask(name) => self.ask(name),
            Request::AskAll(project) => self.ask_all(project),
            Request::Node(found) => self.node(found),
            Request::Firewall(Ok(report)) => {
                if self.shared.firewall_problem(None) {
                    tracing::info!("the firewall rules are in place");
                } else {
                    tracing::warn!(repaired = ?report.repaired, "somebody changed our firewall rules");
                }
            }
            Request::Firewall(Err(error)) => {
                if let Err(error) = self.kernel.pin_after_dnat() {
                    tracing::error!(%error, "firewall rules");
                }
                self.shared.firewall_problem(Some(error.to_string()));
            }
            Request::ProgramsEnded(asked, ended) => {
                let removed = self.kernel.programs_ended(asked, ended);
                self.note(removed);
            }
            Request::Suspects(suspects) => self.look(&suspects),
            Request::Attach(endpoint, reply) => answer(&reply, self.attach(&endpoint)),
            Request::Detach(id, reply) => answer(&reply, self.detach(&id)),
            Request::Verify(endpoint, reply) => {
                answer(&reply, self.kernel.verify(&self.shared, &endpoint));
            }
            Request::Read(read) => read(self.kernel.maps()),
            Request::Names(reply) => answer(&reply, self.resolver.snapshot()),
            Request::Stop => {}
        }
    }

    /// Takes changes in, each with the writes of its scope. Before the first list is complete they only gather.
    pub(super) fn take(&mut self, changes: Vec<Change>) {
        let mut projects = BTreeSet::new();
        let (policies, changes): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| self.synced && matches!(change, Change::EgressPolicy(..)));
        projects.extend(self.take_egress_policies(policies));
        for change in changes {
            let world = self.shared.world();
            let scope = Scope::of(&world, &change);
            let own = match &change {
                Change::Node(_) | Change::ClusterNetwork(_) => true,
                Change::HostSubnet(name, _) => *name == world.node.name,
                _ => false,
            };
            drop(world);
            if let Scope::Part(part) = &scope {
                projects.extend(part.projects.iter().cloned());
            }
            if !self.synced {
                self.shared.change(|world| world.take(change));
            } else if own {
                self.shared.change(|world| world.take(change));
                self.next_pass = self.next_pass.min(Instant::now() + DEBOUNCE);
            } else {
                match change {
                    Change::Resolved(name, addresses) => {
                        self.take_resolved(name, addresses, &scope);
                    }
                    change => {
                        let written = self.kernel.change(&self.shared, change, &scope);
                        self.note(written);
                    }
                }
            }
        }
        if self.synced {
            let world = self.shared.world();
            self.told.look(&world, projects.iter().map(String::as_str));
        }
    }

    /// A failed write is made good by a full pass soon.
    pub(super) fn note(&mut self, result: Result<usize, KernelError>) {
        if let Err(error) = result {
            tracing::error!(%error, "a change could not be written; a full pass follows");
            self.shared.pass_failed(vec![error.to_string()]);
            self.next_pass = Instant::now() + self.retry;
        }
    }

    fn attach(&mut self, endpoint: &Endpoint) -> Result<(), AttachError> {
        if !self.synced {
            return Err(AttachError::Failed(
                "the agent has not read all objects yet".into(),
            ));
        }
        let failed = |e: KernelError| AttachError::Failed(e.to_string());
        let was_local = self.shared.world().is_local(&endpoint.project);
        let attached = self.kernel.attach(&self.shared, endpoint).map_err(failed);
        self.follow_project(&endpoint.project, was_local);
        attached
    }

    fn detach(&mut self, id: &EndpointId) -> Result<(), AttachError> {
        let project = self
            .shared
            .world()
            .endpoints
            .get(id)
            .map(|it| it.project.clone());
        let detached = self.kernel.detach(&self.shared, id);
        if let Some(project) = project {
            self.follow_project(&project, true);
        }
        detached.map_err(|e| AttachError::Failed(e.to_string()))
    }

    pub(super) fn full_pass(&mut self) {
        if !self.synced {
            self.next_pass = Instant::now() + FULL_PASS_INTERVAL;
            return;
        }
        self.judge_node(None);
        let start = Instant::now();
        let report = self.kernel.full_pass(&self.shared, &self.underlay);
        let took = start.elapsed();
        self.told.look_at_all(&self.shared.world());
        for line in &report.done {
            tracing::info!(change = %line, "applied");
        }
        if report.failures.is_empty() {
            self.retry = RETRY_FIRST;
            self.next_pass = Instant::now() + FULL_PASS_INTERVAL;
            tracing::info!(writes = report.writes, ?took, "pass complete");
        } else {
            // Said once: a retry that fails alike is no news.
            for failure in &report.failures {
                if !self.failures.contains(failure) {
                    tracing::error!(%failure, "pass incomplete: trying again every few seconds");
                }
            }
            self.next_pass = Instant::now() + self.retry;
            self.retry = (self.retry * 2).min(RETRY_LAST);
        }
        self.failures.clone_from(&report.failures);
        self.shared.pass_done(took, report);
        memory::give_back();
    }
}

fn rules(changes: &[Change]) -> usize {
    let rules = changes.iter().map(|change| match change {
        Change::EgressPolicy(.., Some(policy)) => policy.rules.as_ref().map_or(0, Vec::len),
        _ => 0,
    });
    rules.sum()
}

/// The asker may have given up at its deadline.
fn answer<T>(reply: &SyncSender<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("nobody waits for the answer any more");
    }
}
