//! GC: the runtime says what shall stay.

use std::collections::HashSet;
use std::time::Instant;

use tracing::info;
use weft_core::model::EndpointId;

use super::{Done, Service};
use crate::cni::identity::{host_ifname, is_host_ifname};
use crate::cni::journal::State;
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
        let stale = self.journal.list().into_iter().filter(|r| {
            // One that is being made is too young for the runtime's list.
            r.network == network && r.state != State::Pending && !stay.contains(&r.endpoint.id)
        });
        let mut failures = Vec::new();
        for record in stale {
            match self.remove_if(&record, deadline) {
                Ok(()) => info!(attachment = %record.endpoint.id, "garbage collected"),
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
                            info!(interface = %link.name, "interface without attachment deleted");
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
