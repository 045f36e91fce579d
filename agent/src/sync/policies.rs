//! Changes of egress policies: all of one, or nothing of it.

use std::sync::Arc;

use weft_core::compile::Scope;
use weft_core::model::{Change, EgressPolicy};

use super::kernel::KernelError;
use super::{PolicyName, Sync};

impl Sync {
    /// A policy that does not fit leaves the one before it in force; where there was none, its project is closed: what its
    /// author wants kept in does not get out for want of room.
    pub(super) fn take_policy(
        &mut self,
        name: &PolicyName,
        policy: Option<Arc<EgressPolicy>>,
        scope: &Scope,
    ) {
        let object = format!("EgressNetworkPolicy/{}/{}", name.project, name.name);
        let change = |policy| Change::Policy(name.project.clone(), name.name.clone(), policy);
        let old = {
            let world = self.shared.world();
            let policies = world.policies.get(&name.project);
            policies
                .and_then(|policies| policies.get(&name.name))
                .cloned()
        };
        match self.kernel.change(&self.shared, change(policy), scope) {
            Err(error @ (KernelError::Full { .. } | KernelError::Unfit(_))) if old.is_some() => {
                // Nothing was written, so the world has only to say so again.
                self.shared.change(|world| world.take(change(old)));
                let message = format!("{error}; what was in force before stays: make it smaller");
                self.shared.refused(object, Some(message));
            }
            Err(error @ (KernelError::Full { .. } | KernelError::Unfit(_))) => {
                self.shared.change(|world| world.take(change(None)));
                let closed = EgressPolicy::invalid(error.to_string());
                let written = self
                    .kernel
                    .change(&self.shared, change(Some(closed)), scope);
                self.note(written);
                let message =
                    format!("{error}; nothing of the project leaves the cluster: make it smaller");
                self.shared.refused(object, Some(message));
            }
            written => {
                self.shared.refused(object, None);
                self.note(written);
            }
        }
    }
}
