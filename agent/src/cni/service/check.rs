//! CHECK: is the attachment as ADD made it?

use std::time::Instant;

use ipnet::IpNet;
use serde_json::Value;
use weft_core::model::EndpointId;
use weft_ebpf::rows::GATEWAY_MAC;
use weft_netns::NetNs;

use super::{Done, Service};
use crate::cni::datapath::AttachError;
use crate::cni::journal::{Record, State};
use crate::cni::result::contradiction;
use crate::cni::spec::{CniError, code};
use crate::netlink::address::InterfaceAddress;
use crate::netlink::veth::Link;
use crate::netlink::{Netlink, NetlinkError};

impl Service {
    pub(super) fn check(
        &self,
        id: &EndpointId,
        netns: &NetNs,
        netns_path: &str,
        prev_result: &Value,
        deadline: Instant,
    ) -> Result<Done, CniError> {
        let _held = self.busy.hold(id, deadline)?;
        let unknown = || {
            let msg = format!("there is no attachment {id} on this node; ADD it again");
            CniError::new(code::UNKNOWN_CONTAINER, msg)
        };
        let record = self
            .journal
            .get(id)
            .filter(|r| r.state == State::Ready)
            .ok_or_else(unknown)?;
        let failed = |what: String| {
            CniError::new(
                code::CHECK_FAILED,
                format!("attachment {id}: {what}; DEL and ADD it again"),
            )
        };
        if record.netns != netns.id().into() {
            let what = format!(
                "it is in {}, which is another namespace than {netns_path}",
                record.netns_path
            );
            return Err(failed(what));
        }
        if let Some(difference) = contradiction(prev_result, &record.attached(netns_path)) {
            return Err(failed(difference));
        }
        inspect_host(&record).map_err(failed)?;
        inspect_pod(&record, netns).map_err(failed)?;
        let verified = self.datapath.verify(&record.endpoint, deadline);
        verified.map_err(|error| match error {
            // It would stand before a new attachment's, or is on a device of all pods.
            AttachError::Foreign(what) => {
                CniError::new(code::CHECK_FAILED, format!("attachment {id}: {what}"))
            }
            other => failed(format!("data path: {other}")),
        })?;
        Ok(Done::default())
    }
}

/// Compares the host's end of the veth pair with what was made.
pub(super) fn inspect_host(record: &Record) -> Result<(), String> {
    let endpoint = &record.endpoint;
    let link = Netlink::open()
        .and_then(|mut n| n.link(&endpoint.host_ifname))
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("interface {} is gone", endpoint.host_ifname))?;
    if link.index != endpoint.host_ifindex {
        return Err(format!("interface {} is another one", link.name));
    }
    compare(&link, GATEWAY_MAC, record.mtu)
}

/// Compares the pod's end with what was made. Routes are not looked at, since a pod may replace its default route.
pub(super) fn inspect_pod(record: &Record, netns: &NetNs) -> Result<(), String> {
    let endpoint = &record.endpoint;
    let ifname = &endpoint.id.ifname;
    let attempt = || -> Result<Option<(Link, Vec<InterfaceAddress>)>, NetlinkError> {
        let mut pod = Netlink::open()?;
        let Some(link) = pod.link(ifname)? else {
            return Ok(None);
        };
        let mut addresses = pod.addresses()?;
        addresses.retain(|a| a.device == link.index);
        Ok(Some((link, addresses)))
    };
    let found = netns
        .run(attempt)
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("in the pod: {e}"))?;
    let (link, addresses) =
        found.ok_or_else(|| format!("interface {ifname} is gone from the pod"))?;
    if link.peer != Some(endpoint.host_ifindex) {
        let what = format!("interface {ifname} in the pod is not the one weft made");
        return Err(what);
    }
    compare(&link, endpoint.mac, record.mtu)?;
    let missing = endpoint
        .addresses
        .iter()
        .find(|a| addresses.iter().all(|b| b.address != IpNet::from(**a)));
    missing.map_or(Ok(()), |address| {
        Err(format!(
            "address {address} is gone from interface {ifname} in the pod"
        ))
    })
}

fn compare(link: &Link, mac: [u8; 6], mtu: u16) -> Result<(), String> {
    let name = &link.name;
    if link.mac != mac {
        return Err(format!(
            "interface {name} has another MAC address than it was made with"
        ));
    }
    if link.mtu != u32::from(mtu) {
        return Err(format!(
            "interface {name} has MTU {} instead of {mtu}",
            link.mtu
        ));
    }
    if !link.up {
        return Err(format!("interface {name} is down"));
    }
    Ok(())
}
