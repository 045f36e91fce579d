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

/// Why a project's policies do not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The mode has no projects.
    #[error(
        "mode subnet has no egress firewall: use mode multitenant, or set egressPolicyConflicts: enforce"
    )]
    SubnetMode,
    /// The project's number is 0.
    #[error("the project's network is global: isolate it, or set egressPolicyConflicts: enforce")]
    Global,
    /// Another project has the same number, and one of them a policy.
    #[error(
        "the project's network is joined with that of {other}, and policies do not go with joined networks: isolate \
         the project, remove the policies, or set egressPolicyConflicts: enforce"
    )]
    Joined {
        /// The other project, the first by name.
        other: String,
    },
    /// There are several.
    #[error("the project has more than one policy ({names}): keep one")]
    Several {
        /// Their names.
        names: String,
    },
    /// There is one, and it is invalid.
    #[error("{name}: {reason}: mend it")]
    Invalid {
        /// Its name.
        name: String,
        /// The field, and what is wrong with it.
        reason: String,
    },
}

impl Violation {
    /// Whether traffic flows as if there were no policy; it is dropped otherwise.
    pub const fn is_ignored(&self) -> bool {
        matches!(self, Self::SubnetMode | Self::Global)
    }
}

impl World {
    /// The state of a project's egress firewall.
    pub fn egress_state(&self, project: &str) -> EgressState {
        if let Some(violation) = self.egress_violation(project) {
            return if violation.is_ignored() {
                EgressState::Ignored(violation.to_string())
            } else {
                EgressState::Closed(violation.to_string())
            };
        }
        let policies = self.egress_policies.get(project);
        match policies.and_then(|policies| policies.values().next()) {
            Some(policy) => EgressState::InForce(Arc::clone(policy)),
            None => EgressState::Open,
        }
    }

    /// Which of OpenShift's three restrictions a project violates: none in a global project, none in a joined one, one in a
    /// project.
    pub fn egress_violation(&self, project: &str) -> Option<Violation> {
        let own = self.egress_policies.get(project);
        let vnid = self.projects.get(project).map(|it| it.vnid);
        let mode = self.network.as_ref().map(|network| network.mode);
        if self.egress.conflicts == Conflicts::Drop {
            match (own, vnid) {
                (None, Some(Vnid::GLOBAL)) => return None,
                (Some(_), _) if mode == Some(Mode::Subnet) => return Some(Violation::SubnetMode),
                (Some(_), Some(Vnid::GLOBAL)) => return Some(Violation::Global),
                (_, Some(vnid)) if mode == Some(Mode::Multitenant) => {
                    if let Some(other) = self.joined_egress_policy(project, vnid) {
                        let other = other.into();
                        return Some(Violation::Joined { other });
                    }
                }
                _ => {}
            }
        }
        let own = own?;
        let mut policies = own.iter();
        match (policies.next(), policies.next()) {
            (Some((name, policy)), None) => policy.rules.as_ref().err().map(|reason| {
                let (name, reason) = (name.clone(), reason.clone());
                Violation::Invalid { name, reason }
            }),
            (Some(_), Some(_)) => {
                let names: Vec<_> = own.keys().map(String::as_str).collect();
                let names = names.join(", ");
                Some(Violation::Several { names })
            }
            (None, _) => None,
        }
    }

    /// Another project of the network, if one of the network's projects has a policy.
    fn joined_egress_policy(&self, project: &str, vnid: Vnid) -> Option<&str> {
        let mut members = self.members(vnid);
        let other = members.find(|name| *name != project)?;
        self.has_egress_policy(vnid).then_some(other)
    }
}
