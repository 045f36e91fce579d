//! The host's own network: brings devices, addresses, routes and settings in line with the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ipnet::IpNet;
use nix::errno::Errno;
use weft_core::compile::host::HostPlan;
use weft_core::diff::host::{HostOp, Obstacle, diff};
use weft_core::host::Route;
use weft_netns::sysctl;

use crate::host::{self, ReadError};
use crate::netlink::route::{Placing, new_route};
use crate::netlink::veth::link_up;
use crate::netlink::{Netlink, NetlinkError};

/// The host's network could not be brought in line.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Something of somebody else's is in the way.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// A setting could not be read or written.
    #[error("{error}{hint}", error = .0, hint = hint(.0))]
    Sysctl(#[from] sysctl::Error),
    /// A device that an operation needs.
    #[error("there is no device {0}")]
    NoDevice(String),
    /// Another program's route.
    #[error(
        "add route {0}: another program's route to the same destination is in its place; remove it (ip route show {network})",
        network = .0.destination
    )]
    ForeignRoute(Route),
    /// The overlay's UDP port.
    #[error(
        "create device {device}: another VXLAN device or socket holds UDP port {port}; remove it (ip -d link show type vxlan) or set vxlanPort of ClusterNetwork default"
    )]
    PortInUse {
        /// The overlay device.
        device: String,
        /// The wanted port.
        port: u16,
    },
}

impl From<ReadError> for HostError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Netlink(error) => Self::Netlink(error),
            ReadError::Sysctl(error) => Self::Sysctl(error),
        }
    }
}

fn hint(error: &sysctl::Error) -> &'static str {
    let (sysctl::Error::Read { source, .. } | sysctl::Error::Write { source, .. }) = error else {
        return "";
    };
    match source.kind() {
        io::ErrorKind::NotFound => " (is IPv6 switched off in this kernel?)",
        io::ErrorKind::ReadOnlyFilesystem => {
            " (/proc/sys is mounted read-only: run the agent privileged)"
        }
        _ => "",
    }
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Report {
    /// Changes made in the kernel.
    pub writes: usize,
    /// Each of them, for the log.
    pub done: Vec<String>,
    /// Index of the overlay device. Another one than before: programs must be attached anew.
    pub overlay: u32,
    /// Endpoint routes that could not be written. The rest of the pass was.
    pub failed: Vec<(Route, HostError)>,
}

/// The network of the host that the calling thread was in at [`Host::open`]. Settings and firewall go by the calling
/// thread: use it from that namespace only.
pub struct Host {
    netlink: Netlink,
}

impl Host {
    /// Opens it.
    pub fn open() -> Result<Self, HostError> {
        Ok(Self {
            netlink: Netlink::open()?,
        })
    }

    /// One pass: observe, compare, change. Writes nothing when nothing differs.
    ///
    /// A route to an endpoint that cannot be written does not hold up the others; everything else stops the pass.
    pub fn sync(&mut self, plan: &HostPlan, endpoints: &[Route]) -> Result<Report, HostError> {
        let state = host::read(&mut self.netlink, plan)?;
        let ops = diff(plan, endpoints, &state)?;
        let mut indices: BTreeMap<String, u32> = state
            .devices
            .into_iter()
            .map(|(name, device)| (name, device.index))
            .collect();
        let mut report = Report::default();
        for op in ops {
            match self.run(plan, &op, &mut indices) {
                Ok(()) => {
                    report.writes += 1;
                    report.done.push(op.to_string());
                }
                Err(error) => match op {
                    HostOp::AddRoute(route) | HostOp::ReplaceRoute(route)
                        if endpoints.contains(&route) =>
                    {
                        report.failed.push((route, error));
                    }
                    _ => return Err(error),
                },
            }
        }
        report.overlay = index(&indices, &plan.overlay.name)?;
        Ok(report)
    }

    /// Whether a pass would change nothing.
    pub fn is_in_line(&mut self, plan: &HostPlan, endpoints: &[Route]) -> Result<bool, HostError> {
        let state = host::read(&mut self.netlink, plan)?;
        Ok(diff(plan, endpoints, &state)?.is_empty())
    }

    fn run(
        &mut self,
        plan: &HostPlan,
        op: &HostOp,
        indices: &mut BTreeMap<String, u32>,
    ) -> Result<(), HostError> {
        let overlay = &plan.overlay.name;
        match op {
            HostOp::DeleteOverlay(name) => {
                self.netlink.delete_device(index(indices, name)?, name)?;
                indices.remove(name);
            }
            HostOp::CreateOverlay(wanted) => {
                let port_in_use = |e: NetlinkError| match e.errno() {
                    Some(Errno::EEXIST | Errno::EADDRINUSE) => HostError::PortInUse {
                        device: wanted.name.clone(),
                        port: wanted.port,
                    },
                    _ => e.into(),
                };
                self.netlink.create_overlay(wanted).map_err(port_in_use)?;
                let device = self.netlink.device(&wanted.name)?;
                let device = device.ok_or_else(|| HostError::NoDevice(wanted.name.clone()))?;
                indices.insert(wanted.name.clone(), device.index);
                self.netlink
                    .no_link_local_address(device.index, &wanted.name)?;
            }
            HostOp::AdjustOverlay(wanted) => {
                let index = index(indices, &wanted.name)?;
                self.netlink.adjust_overlay(index, wanted)?;
            }
            HostOp::AddAddress(address) => {
                let index = index(indices, overlay)?;
                self.netlink.add_address(index, IpNet::from(*address))?;
            }
            HostOp::RemoveAddress(address) => {
                let index = index(indices, overlay)?;
                self.netlink.remove_address(index, *address)?;
            }
            HostOp::SetUp(name) => self.set_up_index(index(indices, name)?, plan, name)?,
            HostOp::WriteSysctl(key, value) => {
                sysctl::write(key, value)?;
            }
            HostOp::AddRoute(route) => {
                put(
                    &mut self.netlink,
                    route,
                    index(indices, &route.device)?,
                    Placing::New,
                )?;
            }
            HostOp::ReplaceRoute(route) => {
                let device = index(indices, &route.device)?;
                put(&mut self.netlink, route, device, Placing::Replace)?;
            }
            HostOp::RemoveRoute(route) => self.netlink.remove_route(route)?,
        }
        Ok(())
    }

    /// A VXLAN device takes its UDP port when it goes up.
    fn set_up_index(&mut self, index: u32, plan: &HostPlan, name: &str) -> Result<(), HostError> {
        match self.netlink.set_up(index, name) {
            Err(e) if e.errno() == Some(Errno::EADDRINUSE) && name == plan.overlay.name => {
                Err(HostError::PortInUse {
                    device: name.to_owned(),
                    port: plan.overlay.port,
                })
            }
            other => Ok(other?),
        }
    }

    /// Adds one endpoint route, without looking at the rest; success when it is there already.
    pub fn add_endpoint_route(&mut self, route: &Route) -> Result<(), HostError> {
        let index = self.device_index(&route.device)?;
        match put(&mut self.netlink, route, index, Placing::New) {
            Err(HostError::ForeignRoute(_)) => {}
            other => return other,
        }
        // Somebody holds the place: if we do, for an endpoint that had the address before, the route is moved.
        let routes = self.netlink.own_routes()?;
        match routes.iter().find(|r| r.destination == route.destination) {
            Some(own) if own.device == Some(index) && own.source == Some(route.source) => Ok(()),
            Some(_) => put(&mut self.netlink, route, index, Placing::Replace),
            None => Err(HostError::ForeignRoute(route.clone())),
        }
    }

    /// Whether an endpoint route is there as it should be.
    pub fn has_endpoint_route(&mut self, route: &Route) -> Result<bool, HostError> {
        let index = self.device_index(&route.device)?;
        let own = |r: &weft_core::host::InstalledRoute| {
            r.destination == route.destination
                && r.device == Some(index)
                && r.source == Some(route.source)
        };
        Ok(self.netlink.own_routes()?.iter().any(own))
    }

    /// Removes one endpoint route; success when it is gone already, or belongs to another device by now.
    pub fn remove_endpoint_route(&mut self, route: &Route) -> Result<(), HostError> {
        let Some(device) = self.netlink.device(&route.device)? else {
            return Ok(()); // the kernel took the routes with the device
        };
        let own = weft_core::host::InstalledRoute {
            destination: route.destination,
            device: Some(device.index),
            source: Some(route.source),
            gateway: None,
            metric: weft_core::host::metric(&route.destination),
        };
        Ok(self.netlink.remove_route(&own)?)
    }

    /// Names and indices of the veths that are there.
    pub fn veths(&mut self) -> Result<BTreeSet<(String, u32)>, HostError> {
        let links = self.netlink.veths()?;
        Ok(links.into_iter().map(|l| (l.name, l.index)).collect())
    }

    /// Sets an endpoint's interface up and adds its routes, without looking at the rest; success when all is there already.
    pub fn open_endpoint(&mut self, index: u32, routes: &[Route]) -> Result<(), HostError> {
        let mut requests = vec![link_up(index)];
        requests.extend(routes.iter().map(|it| new_route(it, index, Placing::New)));
        match self.netlink.send_all(requests) {
            Err(e) if e.errno() == Some(Errno::EEXIST) => {
                routes.iter().try_for_each(|it| self.add_endpoint_route(it))
            }
            other => Ok(other.map(drop)?),
        }
    }

    fn device_index(&mut self, name: &str) -> Result<u32, HostError> {
        let device = self.netlink.device(name)?;
        Ok(device
            .ok_or_else(|| HostError::NoDevice(name.to_owned()))?
            .index)
    }
}

fn put(
    netlink: &mut Netlink,
    route: &Route,
    device: u32,
    placing: Placing,
) -> Result<(), HostError> {
    match netlink.put_route(route, device, placing) {
        Err(e) if e.errno() == Some(Errno::EEXIST) => Err(HostError::ForeignRoute(route.clone())),
        other => Ok(other?),
    }
}

fn index(indices: &BTreeMap<String, u32>, name: &str) -> Result<u32, HostError> {
    let index = indices.get(name).copied();
    index.ok_or_else(|| HostError::NoDevice(name.to_owned()))
}
