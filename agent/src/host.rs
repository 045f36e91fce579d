//! The actual network of the host.
//!
//! It lies below [`crate::apply`], whose passes read before they write.

use std::io::ErrorKind;

use ipnet::IpNet;
use weft_core::compile::host::HostPlan;
use weft_core::diff::host::HostState;
use weft_netns::sysctl;

use crate::netlink::{Netlink, NetlinkError};

/// The host's network cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A setting could not be read.
    #[error(transparent)]
    Sysctl(#[from] sysctl::Error),
}

/// Reads whatever the plan is compared with, from the calling thread's network namespace.
pub fn read(netlink: &mut Netlink, plan: &HostPlan) -> Result<HostState, ReadError> {
    let mut state = HostState::default();
    for device in netlink.devices()? {
        state.devices.insert(device.name.clone(), device);
    }
    if let Some(overlay) = state.devices.get(&plan.overlay.name) {
        let addresses = netlink.addresses()?;
        let ours = addresses.iter().filter(|a| a.device == overlay.index);
        // The kernel manages the link-local address itself.
        let ours = ours.map(|a| a.address).filter(|a| !link_local(a));
        state.addresses.extend(ours);
    }
    state.routes = netlink.own_routes()?;
    for setting in &plan.sysctls {
        match sysctl::read(&setting.key) {
            Ok(value) => {
                state.sysctls.insert(setting.key.clone(), value);
            }
            // No such device yet, or no IPv6.
            Err(sysctl::Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(state)
}

fn link_local(address: &IpNet) -> bool {
    matches!(address, IpNet::V6(a) if a.addr().is_unicast_link_local())
}
