//! EgressNetworkPolicy.

use weft_core::model::{Mode, Violation};

use super::{CLOSED, Judge, Status, Verdict};
use crate::store::ObjectRef;

impl Judge {
    pub(super) fn egress_network_policy(
        &self,
        object: &ObjectRef,
        condition: &'static str,
    ) -> Verdict {
        let project = &object.namespace;
        let verdict = |status: Status, reason, message| Verdict {
            condition,
            status,
            reason,
            message,
            warning: status == Status::False,
            always: true,
            behind: Vec::new(),
            behind_message: String::new(),
        };
        let Some(network) = &self.world.network else {
            let message = "there is no valid ClusterNetwork/default: create it, or mend it";
            return verdict(Status::Unknown, "NoClusterNetwork", message.into());
        };
        if let Some(violation) = self.world.egress_violation(project) {
            let reason = match &violation {
                Violation::SubnetMode => "SubnetMode",
                Violation::Global => "GlobalProject",
                Violation::Joined { .. } => "JoinedProject",
                Violation::Several { .. } => "SeveralPolicies",
                Violation::Invalid { .. } => "Invalid",
            };
            let meanwhile = if violation.is_ignored() {
                "the policy is ignored"
            } else {
                CLOSED
            };
            let message = format!("{violation}; until then, {meanwhile}");
            return verdict(Status::False, reason, message);
        }
        if network.mode == Mode::Multitenant && !self.world.projects.contains_key(project) {
            let message = "the project has no network: its NetNamespace is missing or not valid";
            return verdict(Status::Unknown, "NoNetwork", message.into());
        }
        if let Some(unfit) = self.unfit.get(object) {
            let message = format!(
                "{unfit}; until then, a node keeps the policy that was in force, and without one {CLOSED}"
            );
            return verdict(Status::False, "TooLarge", message);
        }
        let mut message =
            "the policy decides about what the pods of the project send out of the cluster"
                .to_owned();
        if let Some(wrong) = self.intake.wrong(object) {
            message = format!("{message}; {}", wrong.message);
        }
        verdict(Status::True, "InForce", message)
    }
}
