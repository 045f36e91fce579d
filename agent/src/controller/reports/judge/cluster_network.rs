//! ClusterNetwork.

use super::{Judge, Status, Verdict};
use crate::store::ObjectRef;

impl Judge {
    pub(super) fn cluster_network(&self, object: &ObjectRef, condition: &'static str) -> Verdict {
        let mut verdict = self.whole(object, condition);
        let counts = *object == ObjectRef::cluster_network();
        // A controller that has just started has seen no good version; agents that run may have.
        if counts && verdict.status == Status::False && self.world.network.is_none() {
            verdict.message = format!(
                "{}; agents that had one before keep it until they are restarted",
                verdict.message
            );
        }
        verdict
    }
}
