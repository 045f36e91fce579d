//! NetNamespace.

use super::{CLOSED, Judge, Verdict};
use crate::store::ObjectRef;

impl Judge {
    pub(super) fn net_namespace(&self, object: &ObjectRef, condition: &'static str) -> Verdict {
        let mut verdict = self.whole(object, condition);
        let without = !self.world.egress_policies.contains_key(&object.name);
        let violation = self
            .world
            .egress_violation(&object.name)
            .filter(|_| without);
        // It has no policy whose condition could say so.
        if let Some(violation) = violation.filter(|_| verdict.reason == "Accepted") {
            verdict.reason = "EgressClosed";
            verdict.message = format!("{violation}; until then, {CLOSED}");
            verdict.warning = true;
        }
        verdict
    }
}
