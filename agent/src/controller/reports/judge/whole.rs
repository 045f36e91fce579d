//! Kinds whose objects count as long as nothing is wrong with them.

use super::{Judge, Status, Verdict};
use crate::ingest::Fault;
use crate::store::ObjectRef;

impl Judge {
    /// An object that counts as long as nothing is wrong with it.
    pub(super) fn whole(&self, object: &ObjectRef, condition: &'static str) -> Verdict {
        let (status, reason, message) = match self.intake.wrong(object) {
            None => (Status::True, "Accepted", "nothing is wrong"),
            Some(wrong) => {
                let (status, reason) = match wrong.fault {
                    Fault::Invalid => (Status::False, "Invalid"),
                    Fault::Conflict => (Status::False, "Conflict"),
                    Fault::Partly => (Status::True, "PartlyInvalid"),
                };
                (status, reason, wrong.message.as_str())
            }
        };
        Verdict {
            condition,
            status,
            reason,
            message: message.into(),
            warning: reason != "Accepted",
            always: false,
            behind: Vec::new(),
            behind_message: String::new(),
        }
    }
}
