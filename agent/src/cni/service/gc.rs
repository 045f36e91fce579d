//! GC: the runtime says what shall stay.

use std::collections::HashSet;
use std::time::Instant;

use tracing::info;
use weft_core::model::EndpointId;

use super::{Done, Service};
use crate::cni::identity::{host_ifname, is_host_ifname};
use crate::cni::spec::{CniError, code};
use crate::netlink::Netlink;

impl Service {
    pub(super) fn gc(
        &self,
        network: &str,
        valid: &[EndpointId],
        deadline: Instant,
    ) -> Result<Done, CniError> {
        // Links before records: one that is made from now on is not in this list.
        let links = Netlink::open().and_then(|mut n| n.veths());
        let stay: HashSet<&EndpointId> = valid.iter().collect();
        let stale = self
            .journal
            .list()
            .into_iter()
            .filter(|r| r.network == network && !stay.contains(&r.endpoint.id));
        let mut failures = Vec::new();
        for record in stale {
            let id = &record.endpoint.id;
            let removal = self.busy.hold(id, deadline).and_then(|_held| {
                // Another request may have removed it, or made it anew, while this one waited.
                match self.journal.get(id) {
                    Some(now) if now.requested_ms == record.requested_ms => {
                        self.remove(&now, deadline)
                    }
                    _ => Ok(()),
                }
            });
            match removal {
                Ok(()) => info!(attachment = %id, "garbage collected"),
                Err(e) => failures.push(e.msg),
            }
        }
        match links {
            Ok(links) => {
                let names: HashSet<String> = valid.iter().map(host_ifname).collect();
                let ours = links.into_iter().filter(|l| is_host_ifname(&l.name));
                for link in
                    ours.filter(|l| !names.contains(&l.name) && !self.journal.knows(&l.name))
                {
                    // By index: meanwhile the name may have passed to a new attachment.
                    match Netlink::open().and_then(|mut n| n.delete_link_index(link.index)) {
                        Ok(true) => {
                            info!(interface = %link.name, "interface without attachment deleted")
                        }
                        Ok(false) => {}
                        Err(e) => failures.push(e.to_string()),
                    }
                }
            }
            Err(e) => failures.push(e.to_string()),
        }
        if failures.is_empty() {
            return Ok(Done::default());
        }
        Err(CniError {
            code: code::GC_INCOMPLETE,
            msg: format!(
                "{} attachments of network {network} could not be removed",
                failures.len()
            ),
            details: failures.join("; "),
        })
    }
}
