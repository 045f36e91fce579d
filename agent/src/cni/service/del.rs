//! DEL, and the removal that every undo is.

use std::time::Instant;

use tracing::{info, warn};
use weft_core::model::EndpointId;

use super::{Done, Service, UNDO_GRACE};
use crate::cni::identity::host_ifname;
use crate::cni::journal::Record;
use crate::cni::spec::{CniError, code};
use crate::netlink::{Netlink, NetlinkError};

impl Service {
    pub(super) fn del(&self, id: &EndpointId, deadline: Instant) -> Result<Done, CniError> {
        let _held = self.busy.hold(id, deadline)?;
        match self.journal.get(id) {
            Some(record) => {
                self.remove(&record, deadline)?;
                info!(attachment = %id, pod = %format!("{}/{}", record.endpoint.project, record.endpoint.pod), "detached");
            }
            // Unknown is success. An interface of that name can only be what is left of it.
            None if !self.journal.knows(&host_ifname(id)) => {
                delete_link(id, &host_ifname(id))?;
            }
            None => {}
        }
        Ok(Done::default())
    }

    /// Undoes an ADD whose answer nobody received.
    pub(in crate::cni) fn take_back(&self, made: &Record) {
        let id = &made.endpoint.id;
        match self.remove_if(made, Instant::now() + UNDO_GRACE) {
            Ok(()) => warn!(attachment = %id, "undone: the plugin went away before the answer"),
            Err(e) => {
                warn!(attachment = %id, error = %e, "the plugin went away, and undoing failed; DEL goes on with it");
            }
        }
    }

    /// Removes an attachment that was seen before, unless another request changed it meanwhile.
    pub(super) fn remove_if(&self, seen: &Record, deadline: Instant) -> Result<(), CniError> {
        let id = &seen.endpoint.id;
        let _held = self.busy.hold(id, deadline)?;
        match self.journal.get(id) {
            Some(now) if now == *seen => self.remove(&now, deadline),
            _ => Ok(()),
        }
    }

    /// Rows first, so that nothing refers to an interface that is gone; then the interface, the file, the addresses.
    /// Every step may have been done before.
    pub(super) fn remove(&self, record: &Record, deadline: Instant) -> Result<(), CniError> {
        let id = &record.endpoint.id;
        if let Err(e) = self.journal.removing(&mut record.clone()) {
            // Cut short from here on, the next start repairs an attachment that DEL then removes again.
            warn!(attachment = %id, error = %e, "removal could not be noted");
        }
        self.datapath.detach(id, deadline).map_err(|e| {
            CniError::new(
                code::ATTACHMENT_FAILED,
                format!("detach {id}: data path: {e}"),
            )
        })?;
        delete_link(id, &record.endpoint.host_ifname)?;
        self.journal.forget(record)?;
        Ok(())
    }
}

fn delete_link(id: &EndpointId, name: &str) -> Result<(), CniError> {
    let attempt = || -> Result<bool, NetlinkError> { Netlink::open()?.delete_link(name) };
    match attempt() {
        Ok(_) => Ok(()),
        Err(e) => Err(CniError::new(
            code::ATTACHMENT_FAILED,
            format!("detach {id}: {e}"),
        )),
    }
}
