//! A full pass: observe, compile, diff, apply. It depends on nothing but the world and the kernel, so it is also how the
//! agent starts, how it takes over from another version, and how it recovers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weft_core::compile::host::{HostPlan, endpoint_routes, host_plan};
use weft_core::compile::{Scope, compile_scope};
use weft_core::diff::diff;
use weft_core::host::OVERLAY;
use weft_core::model::{Change, Endpoint, Problem, World};

use super::kernel::{Kernel, KernelError, gateways};
use super::shared::Shared;
use crate::observe::node::Underlay;
use crate::{apply, observe};

/// What a full pass did.
#[derive(Debug, Default)]
pub struct PassReport {
    /// Changes made in the kernel.
    pub writes: usize,
    /// Those worth a line in the log.
    pub done: Vec<String>,
    /// What could not be done. Independent parts go on.
    pub failures: Vec<String>,
    /// Endpoints without an interface: the pod's namespace went before its DEL. Nothing that a pass could repair.
    pub gone: Vec<Problem>,
}

/// What the host's network is compared with.
pub(super) struct Wanted {
    /// `None` while the cluster's network or this node's subnet is not known.
    pub plan: Option<HostPlan>,
    pub gateways: Vec<IpAddr>,
    pub endpoints: Vec<Endpoint>,
}

impl Wanted {
    pub fn of(world: &World, underlay: &Underlay) -> Self {
        let plan = match (&world.network, world.own_host()) {
            (Some(network), Some(host)) => {
                Some(host_plan(network, host, &world.node, &underlay.interface))
            }
            _ => None,
        };
        Self {
            plan,
            gateways: gateways(world),
            endpoints: world.endpoints.values().cloned().collect(),
        }
    }
}

impl PassReport {
    pub(super) fn take(&mut self, result: Result<usize, impl std::fmt::Display>) {
        match result {
            Ok(writes) => self.writes += writes,
            Err(error) => self.failures.push(error.to_string()),
        }
    }
}

impl Kernel {
    pub(super) fn full_pass(&mut self, shared: &Shared, underlay: &Underlay) -> PassReport {
        let mut report = PassReport::default();
        let Wanted {
            plan,
            gateways,
            endpoints,
        } = Wanted::of(&shared.world(), underlay);
        let present = self.present(&endpoints, &mut report);
        let routes: Vec<_> = present
            .iter()
            .flat_map(|e| endpoint_routes(e, &gateways))
            .collect();
        let overlay = plan
            .as_ref()
            .and_then(|plan| self.host_pass(shared, plan, &routes, &mut report));
        for endpoint in &present {
            let result = self.mend(endpoint);
            report.take(result);
        }
        let result = self.table_pass(shared);
        // Rows that do not know the overlay device close the way to other nodes: the programs in force may know it.
        self.filled |= result.is_ok() && (plan.is_none() || shared.world().overlay_ifindex != 0);
        report.take(result);
        if self.filled {
            let result = self.carry(&present);
            report.take(result);
            self.swap(&present, overlay, &mut report);
        }
        let result = self.leftovers(&endpoints, plan.is_some());
        report.take(result);
        let result = self.sweep(&endpoints, observe::live::monotonic());
        report.take(result);
        let firewall = plan
            .as_ref()
            .is_some_and(|plan| self.firewall_pass(shared, plan, &mut report));
        if self.filled && firewall {
            let result = self.remove_others(&present, overlay);
            report.take(result);
        }
        report
    }

    /// The endpoints whose interface is there.
    pub(super) fn present<'a>(
        &mut self,
        endpoints: &'a [Endpoint],
        report: &mut PassReport,
    ) -> Vec<&'a Endpoint> {
        let veths = match self.host.veths() {
            Ok(veths) => veths,
            Err(error) => {
                report.failures.push(error.to_string());
                return endpoints.iter().collect();
            }
        };
        let is_there = |e: &&Endpoint| veths.contains(&(e.host_ifname.clone(), e.host_ifindex));
        let (present, gone): (Vec<_>, Vec<_>) = endpoints.iter().partition(is_there);
        report.gone = gone
            .into_iter()
            .map(|e| Problem {
                object: e.object().into(),
                message: format!(
                    "its interface {} is gone, with the pod's network namespace as it seems; the container runtime's DEL \
                     or GC frees its addresses",
                    e.host_ifname
                ),
            })
            .collect();
        present
    }

    /// Overlay device, addresses, routes, settings; then the overlay's programs, where it has none. Returns its index.
    fn host_pass(
        &mut self,
        shared: &Shared,
        plan: &HostPlan,
        routes: &[weft_core::host::Route],
        report: &mut PassReport,
    ) -> Option<u32> {
        let done = match self.host.sync(plan, routes) {
            Ok(done) => done,
            Err(error) => {
                report.failures.push(error.to_string());
                return None;
            }
        };
        report.writes += done.writes;
        report.done.extend(done.done);
        report.failures.extend(
            done.failed
                .iter()
                .map(|(route, error)| format!("{route}: {error}")),
        );
        let mended = self.mend_overlay(done.overlay);
        let index = mended.is_ok().then_some(done.overlay);
        report.take(mended);
        if let Some(index) = index {
            shared.change(|world| world.take(Change::Overlay(index)));
        }
        index
    }

    fn table_pass(&mut self, shared: &Shared) -> Result<usize, KernelError> {
        // Before the look: their rows are not to count as in the way.
        self.remove_retired()?;
        self.mirror = observe::maps::tables(&self.maps)?;
        loop {
            let wanted = compile_scope(&shared.world(), &Scope::Everything, &self.memo);
            let writes = diff(&wanted, &self.mirror);
            match self.write(&writes) {
                Err(error @ KernelError::Full { .. })
                    if self.close_largest(shared, &wanted, &error) => {}
                written => {
                    let writes = written?;
                    self.remove_retired()?;
                    self.memo.shrink();
                    return Ok(writes);
                }
            }
        }
    }

    /// Links and counters of interfaces that are no endpoint's.
    fn leftovers(&mut self, endpoints: &[Endpoint], overlay: bool) -> Result<usize, KernelError> {
        let names: BTreeSet<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.host_ifname.as_str())
            .chain(overlay.then_some(OVERLAY))
            .collect();
        let mut removed = 0;
        for (interface, program) in self.pins.links()? {
            if !names.contains(interface.as_str()) {
                apply::pins::Pins::remove(&self.pins.link(&interface, &program))?;
                removed += 1;
            }
        }
        let indices: BTreeSet<u32> = endpoints
            .iter()
            .map(|endpoint| endpoint.host_ifindex)
            .collect();
        for ifindex in observe::maps::counted(&self.maps)? {
            if !indices.contains(&ifindex) {
                self.maps.forget(ifindex)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
