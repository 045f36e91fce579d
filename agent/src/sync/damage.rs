//! Whether something that was there is gone. Suspicions come with every pod that leaves; a pass is worth its while only
//! when one is true.

use std::collections::BTreeSet;

use weft_core::compile::host::endpoint_routes;
use weft_core::host::{OVERLAY, Route};
use weft_core::model::Endpoint;
use weft_ebpf::addr::Addr;

use super::kernel::{Kernel, gateways};
use super::pass::{PassReport, Wanted};
use super::shared::Shared;
use super::{Sync, foreign};
use crate::apply::links;
use crate::bpf::hooks::{POD_ATTACHMENT, POD_HOOKS};
use crate::cni::datapath::AttachError;
use crate::observe;
use crate::observe::node::Underlay;
use crate::observe::removals::Suspect;

impl Sync {
    /// Repairs at once what somebody took away. Before the first pass nothing is known to have been there.
    pub(super) fn look(&mut self, suspects: &BTreeSet<Suspect>) {
        if !self.synced {
            return;
        }
        let failing = !self.failures.is_empty();
        let damage = self
            .kernel
            .damage(&self.shared, &self.underlay, suspects, failing);
        if let Some(gone) = damage {
            tracing::warn!(%gone, "somebody took away what is ours: putting it back");
            self.full_pass();
        }
    }
}

impl Kernel {
    /// Whether programs, rows and routes of an endpoint are in the kernel.
    pub(super) fn verify(
        &mut self,
        shared: &Shared,
        endpoint: &Endpoint,
    ) -> Result<(), AttachError> {
        let interface = &endpoint.host_ifname;
        links::verify(POD_ATTACHMENT, interface, &POD_HOOKS)
            .map_err(|program| AttachError::Missing(format!("program {program} on {interface}")))?;
        for address in &endpoint.addresses {
            let row = Addr::from(*address);
            let found = observe::maps::has_endpoint(&self.maps, row, endpoint.host_ifindex);
            if !found.map_err(|e| AttachError::Failed(e.to_string()))? {
                return Err(AttachError::Missing(format!(
                    "row of {address} for {interface}"
                )));
            }
        }
        let gateways = gateways(&shared.world());
        for route in endpoint_routes(endpoint, &gateways) {
            match self.host.has_endpoint_route(&route) {
                Ok(true) => {}
                Ok(false) => return Err(AttachError::Missing(format!("route {route}"))),
                Err(error) => return Err(AttachError::Failed(error.to_string())),
            }
        }
        // Last: what is missing says more.
        let foreign = foreign::of_endpoint(endpoint, shared.world().overlay_ifindex);
        match foreign
            .map_err(|e| AttachError::Failed(e.to_string()))?
            .first()
        {
            Some(foreign) => Err(AttachError::Foreign(foreign.to_string())),
            None => Ok(()),
        }
    }

    /// Says of what is suspected whether it is gone, and what a pass would put back.
    ///
    /// `failing` says that the last pass could not do everything: what it left undone is no news. Programs are, always:
    /// without them a pod is not isolated.
    pub(super) fn damage(
        &mut self,
        shared: &Shared,
        underlay: &Underlay,
        suspects: &BTreeSet<Suspect>,
        failing: bool,
    ) -> Option<String> {
        let everything = suspects.contains(&Suspect::Everything);
        let wanted = Wanted::of(&shared.world(), underlay);
        for endpoint in &wanted.endpoints {
            let suspected = suspects.contains(&Suspect::Interface(endpoint.host_ifindex));
            let interface = endpoint.host_ifname.as_str();
            // An interface that went as a whole took its programs along, and cannot have them back.
            if (everything || suspected)
                && links::is_there(interface, endpoint.host_ifindex)
                && let Err(program) = links::verify(POD_ATTACHMENT, interface, &POD_HOOKS)
            {
                return Some(format!("{program} on {interface}"));
            }
        }
        let overlay = everything
            || suspects.contains(&Suspect::Overlay)
            || suspects.contains(&Suspect::Unannounced)
            || suspects.contains(&Suspect::Interface(self.overlay));
        if overlay
            && wanted.plan.is_some()
            // A device that could not be made is nobody's doing, and its pass is on its way.
            && (!failing || links::is_there(OVERLAY, self.overlay))
            && let Err(program) = links::verify_overlay(&self.pins, self.attachment)
        {
            return Some(format!("{program} on {OVERLAY}"));
        }
        if failing {
            return None;
        }
        self.host_damage(&wanted, suspects, overlay)
    }

    /// What cannot be told is left to the next pass, which fails with the reason.
    fn host_damage(
        &mut self,
        wanted: &Wanted,
        suspects: &BTreeSet<Suspect>,
        overlay: bool,
    ) -> Option<String> {
        let plan = wanted.plan.as_ref()?;
        let of_endpoint = |endpoint: &&Endpoint| endpoint_routes(endpoint, &wanted.gateways);
        if overlay {
            let present = self.present(&wanted.endpoints, &mut PassReport::default());
            let routes: Vec<Route> = present.iter().flat_map(of_endpoint).collect();
            if let Ok(false) = self.host.is_in_line(plan, &routes) {
                return Some(format!("{OVERLAY}, an address, a route or a setting"));
            }
        }
        let of_endpoints = wanted.endpoints.iter().flat_map(|e| of_endpoint(&e));
        let mut routes = plan.routes.iter().cloned().chain(of_endpoints);
        let gone = routes.find(|route| {
            suspects.contains(&Suspect::Route(route.destination))
                && matches!(self.host.has_endpoint_route(route), Ok(false))
        });
        gone.map(|route| format!("route {route}"))
    }
}
