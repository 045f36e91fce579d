//! Programs on the interfaces of this node, in a full pass: those that are missing at once, those of another process once
//! the maps are filled, and then the end of another ABI's pins.
//!
//! The order is what makes a start of a new ABI harmless: its maps begin empty, and until they are filled the programs and
//! maps of the old one go on. A program is replaced in place, one hook after the other, so that each packet meets exactly
//! one; a start that is killed half-way leaves hooks of both, and the next one goes on from there.

use weft_core::compile::project_key;
use weft_core::host::OVERLAY;
use weft_core::model::Endpoint;

use super::kernel::{Kernel, KernelError};
use super::pass::PassReport;
use crate::apply::carried::{Local, Seen};
use crate::apply::links;
use crate::bpf::hooks::{Hook, OVERLAY_HOOKS, POD_ATTACHMENT, POD_HOOKS};
use crate::observe::live::monotonic;

impl Kernel {
    /// Attaches what an endpoint lacks, even over maps that are still empty: closed is better than not judged.
    pub(super) fn mend(&mut self, endpoint: &Endpoint) -> Result<usize, KernelError> {
        let missing = links::missing(POD_ATTACHMENT, &endpoint.host_ifname, &POD_HOOKS);
        if !missing.is_empty() {
            self.attach_to_pod(endpoint, &missing)?;
        }
        Ok(missing.len())
    }

    /// The same for the overlay device with this index.
    pub(super) fn mend_overlay(&mut self, index: u32) -> Result<usize, KernelError> {
        let missing = links::missing(self.attachment, OVERLAY, &OVERLAY_HOOKS);
        if !missing.is_empty() {
            self.attach_to_overlay(index, &missing)?;
        }
        Ok(missing.len())
    }

    /// Replaces the programs that another process attached. The maps must be filled.
    pub(super) fn swap(
        &mut self,
        endpoints: &[&Endpoint],
        overlay: Option<u32>,
        report: &mut PassReport,
    ) {
        if let Some(index) = overlay
            && (self.overlay != index
                || links::verify_overlay(&self.pins, self.attachment).is_err())
        {
            report.take(self.attach_to_overlay(index, &OVERLAY_HOOKS));
        }
        for endpoint in endpoints {
            if !self.attached.contains(&endpoint.id) {
                report.take(self.attach_to_pod(endpoint, &POD_HOOKS));
            }
        }
    }

    fn attach_to_overlay(&mut self, index: u32, hooks: &[Hook]) -> Result<usize, KernelError> {
        // What is pinned may belong to the device of the previous run, which is this one unless it was made just now:
        // a dead link cannot be updated and is then replaced.
        links::attach(
            &mut self.object.ebpf,
            &self.pins,
            self.attachment,
            OVERLAY,
            hooks,
            false,
        )?;
        if hooks.len() == OVERLAY_HOOKS.len() {
            self.overlay = index;
        }
        Ok(hooks.len())
    }

    fn attach_to_pod(&mut self, endpoint: &Endpoint, hooks: &[Hook]) -> Result<usize, KernelError> {
        links::attach(
            &mut self.object.ebpf,
            &self.pins,
            POD_ATTACHMENT,
            &endpoint.host_ifname,
            hooks,
            false,
        )?;
        self.maps.count(endpoint.host_ifindex)?;
        if hooks.len() == POD_HOOKS.len() {
            self.attached.insert(endpoint.id.clone());
        }
        Ok(hooks.len())
    }

    /// Takes over what another version's programs have noted. A failure costs connections, and holds up nothing.
    pub(super) fn carry(&mut self, endpoints: &[&Endpoint]) -> Result<usize, KernelError> {
        let others = self.pins.others()?;
        if others.is_empty() {
            self.carried = Seen::default();
            return Ok(0);
        }
        let local = Local {
            interfaces: endpoints.iter().map(|it| it.host_ifindex).collect(),
            projects: endpoints
                .iter()
                .map(|it| project_key(&it.project))
                .collect(),
        };
        let mut carried = 0;
        for other in others {
            let node = &self.mirror.node;
            let seen = &mut self.carried;
            let result = self.maps.carry(&other, &local, node, seen, monotonic());
            match result {
                Ok(rows) => carried += rows,
                Err(error) => {
                    tracing::warn!(abi = other.abi(), %error, "open connections and learned names are not taken over");
                }
            }
        }
        Ok(carried)
    }

    /// Removes the pins of other ABI numbers once nothing of them is in force; the firewall's rules must not name them any more.
    /// Their counters go with them.
    pub(super) fn remove_others(
        &mut self,
        endpoints: &[&Endpoint],
        overlay: Option<u32>,
    ) -> Result<usize, KernelError> {
        let done = overlay.is_some_and(|index| self.overlay == index)
            && endpoints.iter().all(|e| self.attached.contains(&e.id));
        if !done {
            return Ok(0);
        }
        // What was noted until the last hook had its new program.
        let mut removed = self.carry(endpoints)?;
        for other in self.pins.others()? {
            // What somebody else has put there is nothing that a pass could repair.
            match other.remove_folder() {
                Ok(()) => {
                    tracing::info!(
                        abi = other.abi(),
                        "all programs are taken over; the old pins are removed"
                    );
                    removed += 1;
                }
                Err(error) => {
                    tracing::warn!(abi = other.abi(), %error, "the pins of another ABI stay");
                }
            }
        }
        Ok(removed)
    }
}
