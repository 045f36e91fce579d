//! The actual network of the host.

use ipnet::IpNet;
use weft_core::compile::host::HostPlan;
use weft_core::diff::host::HostState;

use crate::apply::{host::HostError, sysctl};
use crate::netlink::Netlink;

/// Reads whatever the plan is compared with, from the calling thread's network namespace.
pub fn observe(netlink: &mut Netlink, plan: &HostPlan) -> Result<HostState, HostError> {
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
        let value = sysctl::read(&setting.key).map_err(|source| HostError::Sysctl {
            call: "read",
            key: setting.key.clone(),
            source,
        })?;
        if let Some(value) = value {
            state.sysctls.insert(setting.key.clone(), value);
        }
    }
    Ok(state)
}

fn link_local(address: &IpNet) -> bool {
    matches!(address, IpNet::V6(a) if a.addr().is_unicast_link_local())
}
