//! What the resolver says reaches the rules, and what the rules need reaches the resolver.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use weft_core::compile::project_key;
use weft_core::model::{Change, DnsName, NamePattern};
use weft_ebpf::rows::ProjectKey;

use super::Sync;
use crate::dns;

/// Names that are asked for because of one question that could not be read.
const ASKED_AT_ONCE: usize = 64;

impl Sync {
    pub(super) fn dns(&mut self, event: dns::Event) {
        let now = Instant::now();
        let mut heard = None;
        let changes = match event {
            dns::Event::Changed(name, to) => {
                heard = Some(name.clone());
                self.names.changed(name, &to, now).into_iter().collect()
            }
            dns::Event::Once(name, addresses, ttl) => {
                let world = self.shared.world();
                self.names.once(&name, &addresses, ttl, &world, now)
            }
            dns::Event::Servers(servers) => {
                let mut settings = self.shared.world().egress.clone();
                settings.trusted.clone_from(&self.trusted);
                settings.trusted.extend(servers.iter().map(SocketAddr::ip));
                vec![Change::EgressSettings(settings)]
            }
            dns::Event::Problems(problems) => {
                self.shared.dns_problems(problems);
                Vec::new()
            }
        };
        self.take(changes);
        // Its addresses are in the kernel by now: who waits for that may go on.
        if let Some(name) = heard {
            self.shared.heard(&name);
        }
    }

    /// Only names that some policy stands for: pods cannot make the agent ask for whatever they like.
    pub(super) fn ask(&self, name: DnsName) {
        let covered = self.shared.world().is_covered(&name);
        if covered {
            self.resolver.resolve_now(name);
        }
    }

    /// Every name of the project's policies: one of them may be the one that was asked for.
    pub(super) fn ask_all(&self, project: ProjectKey) {
        let names: BTreeSet<DnsName> = {
            let world = self.shared.world();
            let own = world
                .egress_policies
                .iter()
                .filter(|(name, _)| project_key(name) == project);
            let patterns =
                own.flat_map(|(_, policies)| policies.values().flat_map(|it| it.names()));
            let exact = patterns.filter(|it| matches!(it, NamePattern::Exact(_)));
            exact
                .take(ASKED_AT_ONCE)
                .map(|it| it.name().clone())
                .collect()
        };
        for name in names {
            self.resolver.resolve_now(name);
        }
    }

    /// Tells the resolver which names the policies of this node's pods stand for.
    pub(super) fn follow_names(&mut self) {
        let followed = self.names.follow(&self.shared.world());
        self.watch(followed);
    }

    /// The same when only policies with these names have come or gone.
    pub(super) fn follow_some(&mut self, names: &BTreeSet<DnsName>) {
        let followed = self.names.follow_some(&self.shared.world(), names);
        self.watch(followed);
    }

    /// The first pod of a project brings the names of its policies, the last one takes them along.
    pub(super) fn follow_project(&mut self, project: &str, was_local: bool) {
        let names: BTreeSet<DnsName> = {
            let world = self.shared.world();
            if world.is_local(project) == was_local {
                return;
            }
            let policies = world.egress_policies.get(project).into_iter().flatten();
            let names = policies.flat_map(|(_, policy)| policy.names());
            names.map(|it| it.name().clone()).collect()
        };
        self.follow_some(&names);
    }

    fn watch(&mut self, (watch, gone): (Option<BTreeSet<DnsName>>, Vec<Change>)) {
        if let Some(names) = watch {
            self.shared.unheard(self.names.unheard());
            self.resolver.watch(names);
        }
        self.take(gone);
    }
}
