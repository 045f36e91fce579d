//! Changes of egress policies: all that change in a project at once, or nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weft_core::compile::{Part, Scope};
use weft_core::model::{Change, EgressPolicy, NamePattern, ObjectRef, Subject};

use super::Sync;
use super::kernel::KernelError;
use super::shared::Refusal;

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
        let old: Policies = {
            let world = self.shared.world();
            let own = world.egress_policies.get(project);
            let old = |name: &String| own.and_then(|own| own.get(name)).cloned();
            policies
                .keys()
                .map(|name| (name.clone(), old(name)))
                .collect()
        };
        let written = self
            .kernel
            .change_all(&self.shared, changes(project, policies), scope);
        let Err(error @ (KernelError::Full { .. } | KernelError::Unfit(_))) = written else {
            for name in policies.keys() {
                self.shared.refused(object(project, name), None);
            }
            return self.note(written);
        };
        // Nothing was written, so the world has only to say so again.
        self.shared.change(|world| {
            for change in changes(project, &old) {
                world.take(change);
            }
        });
        let had_one = old.values().any(Option::is_some);
        let meanwhile = if had_one {
            "what was in force before stays"
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
            "nothing of the project leaves the cluster"
        };
        for name in policies.keys() {
            let refusal = Refusal {
                message: format!("{error}; {meanwhile}: make it smaller"),
                everywhere: matches!(error, KernelError::Unfit(_)),
            };
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
        let old = self.shared.world().resolved.get(&name).cloned();
        let new = Change::Resolved(name.clone(), addresses);
        match self.kernel.change(&self.shared, new, scope) {
            Err(error @ KernelError::Full { .. }) => {
                let back = Change::Resolved(name, old.unwrap_or_default());
                self.shared.change(|world| world.take(back));
                let refusal = Refusal {
                    message: format!("{error}; its addresses from before stay in force"),
                    everywhere: false,
                };
                self.shared.refused(object, Some(refusal));
            }
            written => {
                self.shared.refused(object, None);
                self.note(written);
            }
        }
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
