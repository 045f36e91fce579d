//! Changes of egress policies: all that change in a project at once, or nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weft_core::compile::{Part, Scope, Tables};
use weft_core::model::{Change, EgressPolicy, NamePattern, ObjectRef, Subject};

use super::Sync;
use super::kernel::{Kernel, KernelError};
use super::room::refusal;
use super::shared::Shared;

/// What becomes of a project whose policy does not fit, where there was none before.
const CLOSED: &str = "nothing of the project leaves the cluster: make it smaller";

/// New versions by name; `None` takes one away.
type Policies = BTreeMap<String, Option<Arc<EgressPolicy>>>;

impl Sync {
    /// Takes policies in, those of one project as one step: one that is renamed is not gone in between. Answers the projects.
    pub(super) fn take_egress_policies(&mut self, changes: Vec<Change>) -> BTreeSet<String> {
        let mut by_project = BTreeMap::<String, Policies>::new();
        for change in changes {
            if let Change::EgressPolicy(project, name, policy) = change {
                by_project.entry(project).or_default().insert(name, policy);
            }
        }
        let mut touched = BTreeSet::new();
        for (project, policies) in by_project {
            let part = self.scope_of(&project, &policies);
            touched.extend(part.projects.iter().cloned());
            let names = part.names.clone();
            self.take_policies_of_project(&project, &policies, &Scope::Part(part));
            self.follow_some(&names);
        }
        touched
    }

    fn scope_of(&self, project: &str, policies: &Policies) -> Part {
        let world = self.shared.world();
        let mut all = Part::default();
        for change in changes(project, policies) {
            if let Scope::Part(part) = Scope::of(&world, &change) {
                all.extend(part);
            }
        }
        all
    }

    /// Policies that do not fit leave those before them in force; where there were none, the project is closed: what its
    /// author wants kept in does not get out for want of room.
    fn take_policies_of_project(&mut self, project: &str, policies: &Policies, scope: &Scope) {
        let had_one = {
            let world = self.shared.world();
            let own = world.egress_policies.get(project);
            own.is_some_and(|own| policies.keys().any(|name| own.contains_key(name)))
        };
        let written = self
            .kernel
            .change_or_keep(&self.shared, changes(project, policies), scope);
        let Some(error) = written.as_ref().err().filter(|error| !error.fits()) else {
            for name in policies.keys() {
                self.shared.refused(object(project, name), None);
            }
            return self.note(written);
        };
        let meanwhile = if had_one {
            "what was in force before stays: make it smaller"
        } else {
            let closed = Some(EgressPolicy::invalid(error.to_string()));
            let new = policies.iter().filter(|(_, policy)| policy.is_some());
            let new: Policies = new
                .map(|(name, _)| (name.clone(), closed.clone()))
                .collect();
            let written = self
                .kernel
                .change_all(&self.shared, changes(project, &new), scope);
            self.note(written);
            CLOSED
        };
        for name in policies.keys() {
            let refusal = refusal(error, meanwhile);
            self.shared.refused(object(project, name), Some(refusal));
        }
    }

    /// Addresses that do not fit leave those before them in force.
    pub(super) fn take_resolved(
        &mut self,
        name: NamePattern,
        addresses: BTreeSet<IpAddr>,
        scope: &Scope,
    ) {
        let object = Subject::Name(name.clone());
        let new = vec![Change::Resolved(name, addresses)];
        match self.kernel.change_or_keep(&self.shared, new, scope) {
            Err(error) if !error.fits() => {
                let refusal = refusal(&error, "its addresses from before stay in force");
                self.shared.refused(object, Some(refusal));
            }
            written => {
                self.shared.refused(object, None);
                self.note(written);
            }
        }
    }
}

impl Kernel {
    /// Closes the project of the largest policy that is not in the kernel yet, so that the others find room: policies are taken
    /// in without a look at each other before the first pass. Whether there was one.
    pub(super) fn close_largest(
        &self,
        shared: &Shared,
        wanted: &Tables,
        error: &KernelError,
    ) -> bool {
        let new = wanted.egress_policies.iter();
        let new = new.filter(|(number, _)| !self.mirror.egress_policies.contains_key(number));
        let Some((number, _)) = new.max_by_key(|(_, table)| table.most_rows()) else {
            return false;
        };
        let found = {
            let world = shared.world();
            let all = world.egress_policies.iter();
            let all = all
                .flat_map(|(project, own)| own.iter().map(move |(name, it)| (project, name, it)));
            let mut of_number = all.filter(|(_, _, it)| it.number() == *number);
            of_number
                .next()
                .map(|(project, name, _)| (project.clone(), name.clone()))
        };
        let Some((project, name)) = found else {
            return false;
        };
        shared.refused(object(&project, &name), Some(refusal(error, CLOSED)));
        let closed = EgressPolicy::invalid(error.to_string());
        shared.change(|world| world.take(Change::EgressPolicy(project, name, Some(closed))));
        true
    }
}

fn changes(project: &str, policies: &Policies) -> Vec<Change> {
    let change = |(name, policy): (&String, &Option<Arc<EgressPolicy>>)| {
        Change::EgressPolicy(project.to_owned(), name.clone(), policy.clone())
    };
    policies.iter().map(change).collect()
}

fn object(project: &str, name: &str) -> Subject {
    ObjectRef::egress_policy(project, name).into()
}
