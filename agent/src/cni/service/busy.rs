//! One request at a time for an attachment, with a deadline for those that wait.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use weft_core::model::EndpointId;

use crate::cni::spec::{CniError, code};

/// The attachments that somebody works on.
#[derive(Debug, Default)]
pub(super) struct Busy {
    ids: Mutex<HashSet<EndpointId>>,
    freed: Condvar,
}

/// Ends the work on an attachment when dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    busy: &'a Busy,
    id: &'a EndpointId,
}

impl Busy {
    pub(super) fn hold<'a>(
        &'a self,
        id: &'a EndpointId,
        deadline: Instant,
    ) -> Result<Held<'a>, CniError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ids, _) = self
            .freed
            .wait_timeout_while(ids, patience, |ids| ids.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        if !ids.insert(id.clone()) {
            return Err(CniError::new(
                code::TRY_AGAIN_LATER,
                format!(
                    "another request for attachment {id} is still being served; try again later"
                ),
            ));
        }
        Ok(Held { busy: self, id })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut ids = self.busy.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(self.id);
        drop(ids);
        self.busy.freed.notify_all();
    }
}
