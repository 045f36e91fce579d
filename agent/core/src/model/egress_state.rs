//! Which egress policy of a project is in force.

use std::sync::Arc;

use super::{Conflicts, EgressPolicy, Mode, Vnid, World};

/// What the egress firewall does with a project's traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressState {
    /// There is no policy: everything is allowed.
    Open,
    /// One policy is in force.
    InForce(Arc<EgressPolicy>),
    /// The policies do not count: everything is allowed.
    Ignored(String),
    /// All external traffic is dropped.
    Closed(String),
}

impl World {
    /// The state of a project's egress firewall, as OpenShift's three restrictions have it: none in a global project, none
    /// in a joined one, one in a project.
    pub fn egress_state(&self, project: &str) -> EgressState {
        let own = self.policies.get(project);
        let vnid = self.projects.get(project).map(|it| it.vnid);
        let mode = self.network.as_ref().map(|network| network.mode);
        if self.egress.conflicts == Conflicts::Drop {
            match (own, vnid) {
                (None, Some(Vnid::GLOBAL)) => return EgressState::Open,
                (Some(_), _) if mode == Some(Mode::Subnet) => {
                    return EgressState::Ignored(
                        "mode subnet has no egress firewall: use mode multitenant, or set egressPolicyConflicts: \
                         enforce"
                            .into(),
                    );
                }
                (Some(_), Some(Vnid::GLOBAL)) => {
                    return EgressState::Ignored(
                        "the project's network is global: isolate it, or set egressPolicyConflicts: enforce".into(),
                    );
                }
                (_, Some(vnid)) if mode == Some(Mode::Multitenant) => {
                    if let Some(other) = self.joined_policy(project, vnid) {
                        return EgressState::Closed(format!(
                            "the project's network is joined with that of {other}, and policies do not go with joined \
                             networks: isolate the project, remove the policies, or set egressPolicyConflicts: enforce"
                        ));
                    }
                }
                _ => {}
            }
        }
        let Some(own) = own else {
            return EgressState::Open;
        };
        let mut policies = own.iter();
        match (policies.next(), policies.next()) {
            (None, _) => EgressState::Open,
            (Some((name, policy)), None) => match &policy.rules {
                Ok(_) => EgressState::InForce(Arc::clone(policy)),
                Err(reason) => EgressState::Closed(format!("{name}: {reason}: mend it")),
            },
            (Some(_), Some(_)) => {
                let names: Vec<_> = own.keys().map(String::as_str).collect();
                let names = names.join(", ");
                EgressState::Closed(format!(
                    "the project has more than one policy ({names}): keep one"
                ))
            }
        }
    }

    /// Another project of the network, if one of the network's projects has a policy.
    fn joined_policy(&self, project: &str, vnid: Vnid) -> Option<&str> {
        let members = self.members(vnid);
        let other = members.clone().find(|name| *name != project)?;
        members
            .clone()
            .any(|name| self.policies.contains_key(name))
            .then_some(other)
    }
}
