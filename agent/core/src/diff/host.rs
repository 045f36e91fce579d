//! Wanted x actual network of the host -> operations, in the order in which they must run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::compile::host::HostPlan;
use crate::host::{Device, InstalledRoute, Overlay, Route, metric};

/// What the kernel holds, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// Every device by name.
    pub devices: BTreeMap<String, Device>,
    /// Addresses of the overlay device without the kernel's own link-local one, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Routes with our protocol number in the main table.
    pub routes: Vec<InstalledRoute>,
    /// Settings that the plan names, without the trailing newline; those that do not exist are missing.
    pub sysctls: BTreeMap<String, String>,
}

/// One change of the host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOp {
    /// Delete the overlay device by name.
    DeleteOverlay(String),
    /// Create the overlay device, down, with all its parameters.
    CreateOverlay(Overlay),
    /// Bring MAC address, MTU, learning and ARP of the overlay device in line, in place.
    AdjustOverlay(Overlay),
    /// Add a host address to the overlay device.
    AddAddress(IpAddr),
    /// Remove an address from the overlay device.
    RemoveAddress(IpNet),
    /// Set a device up.
    SetUp(String),
    /// Write a setting: path below `/proc/sys`, value.
    WriteSysctl(String, &'static str),
    /// Add a route; fails when somebody else's is in its place.
    AddRoute(Route),
    /// Put a route in the place of another one of ours.
    ReplaceRoute(Route),
    /// Remove a route of ours.
    RemoveRoute(InstalledRoute),
}

impl std::fmt::Display for HostOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DeleteOverlay(name) => write!(f, "delete device {name}"),
            Self::CreateOverlay(o) => write!(f, "create device {}", o.name),
            Self::AdjustOverlay(o) => write!(f, "adjust device {}", o.name),
            Self::AddAddress(a) => write!(f, "add address {a}"),
            Self::RemoveAddress(a) => write!(f, "remove address {a}"),
            Self::SetUp(name) => write!(f, "set up {name}"),
            Self::WriteSysctl(key, value) => write!(f, "set {key} to {value}"),
            Self::AddRoute(r) => write!(f, "add route {r}"),
            Self::ReplaceRoute(r) => write!(f, "replace route {r}"),
            Self::RemoveRoute(r) => write!(f, "remove route {}", r.destination),
        }
    }
}

/// What stands in the way of the plan and is not ours to take away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A device of our name that we cannot have made.
    #[error(
        "the device {name} exists and is {kind}, not a VXLAN device in external mode: it is somebody else's; rename or remove it (ip link delete {name})"
    )]
    ForeignDevice {
        /// Its name.
        name: String,
        /// What it is.
        kind: String,
    },
}

/// The operations that turn `state` into `plan` with `endpoints` as further routes; empty when nothing differs.
pub fn diff(
    plan: &HostPlan,
    endpoints: &[Route],
    state: &HostState,
) -> Result<Vec<HostOp>, Obstacle> {
    let mut ops = Vec::new();
    let kept = overlay(&plan.overlay, state, &mut ops)?;
    for sysctl in &plan.sysctls {
        let actual = state.sysctls.get(&sysctl.key).map(String::as_str);
        // A device made anew has the defaults, whatever was read from its predecessor.
        let fresh = !kept && sysctl.key.contains(&format!("/{}/", plan.overlay.name));
        let write = match sysctl.instead_of {
            Some(old) => actual == Some(old),
            None => fresh || actual != Some(sysctl.value),
        };
        if write {
            ops.push(HostOp::WriteSysctl(sysctl.key.clone(), sysctl.value));
        }
    }
    let wanted: BTreeSet<IpNet> = plan.addresses.iter().map(|a| IpNet::from(*a)).collect();
    let present: BTreeSet<IpNet> = if kept {
        state.addresses.iter().copied().collect()
    } else {
        BTreeSet::new()
    };
    ops.extend(
        wanted
            .difference(&present)
            .map(|a| HostOp::AddAddress(a.addr())),
    );
    if !kept || state.devices.get(&plan.overlay.name).is_some_and(|d| !d.up) {
        ops.push(HostOp::SetUp(plan.overlay.name.clone()));
    }
    routes(plan, endpoints, state, kept, &mut ops);
    // Last: the kernel drops routes together with their preferred source.
    ops.extend(
        present
            .difference(&wanted)
            .map(|a| HostOp::RemoveAddress(*a)),
    );
    Ok(ops)
}

/// Whether the device that is there stays.
fn overlay(wanted: &Overlay, state: &HostState, ops: &mut Vec<HostOp>) -> Result<bool, Obstacle> {
    let Some(device) = state.devices.get(&wanted.name) else {
        ops.push(HostOp::CreateOverlay(wanted.clone()));
        return Ok(false);
    };
    let foreign = |kind: String| Obstacle::ForeignDevice {
        name: device.name.clone(),
        kind,
    };
    let vxlan = match device.vxlan {
        Some(vxlan) if vxlan.external => vxlan,
        Some(_) => return Err(foreign("a VXLAN device with a fixed network number".into())),
        None if device.kind.is_empty() => return Err(foreign("a physical device".into())),
        None => return Err(foreign(format!("of kind {}", device.kind))),
    };
    if vxlan.port != wanted.port {
        // The kernel takes the port at creation only.
        ops.push(HostOp::DeleteOverlay(wanted.name.clone()));
        ops.push(HostOp::CreateOverlay(wanted.clone()));
        return Ok(false);
    }
    if device.mac != wanted.mac || device.mtu != wanted.mtu || !device.noarp || vxlan.learning {
        ops.push(HostOp::AdjustOverlay(wanted.clone()));
    }
    Ok(true)
}

fn routes(
    plan: &HostPlan,
    endpoints: &[Route],
    state: &HostState,
    kept: bool,
    ops: &mut Vec<HostOp>,
) {
    let wanted: BTreeMap<IpNet, &Route> = plan
        .routes
        .iter()
        .chain(endpoints)
        .map(|r| (r.destination, r))
        .collect();
    let overlay = state.devices.get(&plan.overlay.name).map(|d| d.index);
    let mut present: BTreeMap<IpNet, Vec<&InstalledRoute>> = BTreeMap::new();
    for route in &state.routes {
        // Routes over a device that is deleted go with it.
        if kept || route.device.is_none() || route.device != overlay {
            present.entry(route.destination).or_default().push(route);
        }
    }
    let mut up = BTreeSet::new();
    for (destination, route) in &wanted {
        let device = state.devices.get(&route.device);
        if device.is_some_and(|d| !d.up && d.name != plan.overlay.name) && up.insert(&route.device)
        {
            ops.push(HostOp::SetUp(route.device.clone()));
        }
        let index = device
            .map(|d| d.index)
            .filter(|i| kept || Some(*i) != overlay);
        let ours = present.remove(destination).unwrap_or_default();
        // With the old overlay device go the gateway addresses, and with these the routes (IPv4) or their sources (IPv6).
        let fits = |r: &InstalledRoute| {
            kept && index.is_some()
                && r.device == index
                && r.source == Some(route.source)
                && r.gateway.is_none()
                && r.metric == metric(destination)
        };
        match ours.as_slice() {
            [one] if fits(one) => {}
            // The same metric is the same slot: replaced without a gap.
            [one] if one.metric == metric(destination) => {
                ops.push(HostOp::ReplaceRoute((*route).clone()));
            }
            several => {
                let good = several.iter().any(|r| fits(r));
                if !good {
                    ops.push(HostOp::AddRoute((*route).clone()));
                }
                let bad = several.iter().filter(|r| !fits(r));
                ops.extend(bad.map(|r| HostOp::RemoveRoute((*r).clone())));
            }
        }
    }
    for stale in present.into_values().flatten() {
        ops.push(HostOp::RemoveRoute(stale.clone()));
    }
}

#[cfg(test)]
mod tests;
