//! Ranges of the cluster that the node uses for something else.

use ipnet::IpNet;
use weft_core::host::DEVICE_PREFIX;
use weft_core::model::ClusterNetwork;

use super::{Check, State};
use crate::observe::node::Snapshot;

pub(super) const NAME: &str = "address ranges";

/// A node holds single addresses of it where kube-proxy works with IPVS (all services), and for NodeLocal DNSCache.
const SERVICES: &str = "service network";

/// What the node has.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Interfaces and addresses.
    pub snapshot: Snapshot,
    /// Routes of the main table that are not ours, with their interface's index.
    pub routes: Vec<(IpNet, Option<u32>)>,
}

/// A range that an interface holds, or a route into a part of one, takes packets away from pods or services. A wider route
/// does not: ours are longer.
pub(super) fn overlaps(network: &ClusterNetwork, found: &Found) -> Check {
    let pods = network
        .networks
        .iter()
        .map(|it| ("cluster network", it.cidr));
    let services = network.services.iter().map(|it| (SERVICES, *it));
    let ranges: Vec<(&str, IpNet)> = pods.chain(services).collect();
    let name = |index: u32| {
        let mut devices = found.snapshot.devices.iter();
        let device = devices.find(|device| device.index == index);
        device.map_or_else(|| format!("number {index}"), |device| device.name.clone())
    };
    let mut wrong = Vec::new();
    for address in &found.snapshot.addresses {
        let device = name(address.device);
        if device.starts_with(DEVICE_PREFIX) {
            continue;
        }
        let held = address.address;
        let alone = held.prefix_len() == held.max_prefix_len();
        for (what, range) in ranges.iter().filter(|(_, range)| meet(&held, range)) {
            if alone && *what == SERVICES {
                continue;
            }
            wrong.push(format!(
                "interface {device} has {held} in the {what} {range}"
            ));
        }
    }
    for (destination, device) in &found.routes {
        let device = device.map(name);
        if destination.prefix_len() == 0
            || device
                .as_ref()
                .is_some_and(|it| it.starts_with(DEVICE_PREFIX))
        {
            continue;
        }
        for (what, range) in ranges
            .iter()
            .filter(|(_, range)| range.contains(destination))
        {
            let over = device
                .as_ref()
                .map_or_else(String::new, |it| format!(" over {it}"));
            wrong.push(format!(
                "a route leads to {destination}{over} in the {what} {range}"
            ));
        }
    }
    wrong.dedup();
    if wrong.is_empty() {
        let list: Vec<_> = ranges.iter().map(|(_, range)| range.to_string()).collect();
        let message = format!("nothing on this node uses a part of {}", list.join(", "));
        return Check::new(NAME, State::Ok, message);
    }
    let remedy = "remove the interface or route (another network plugin may have left it), or move the cluster's range";
    Check::new(
        NAME,
        State::Failed,
        format!("{}: {remedy}", wrong.join("; ")),
    )
}

fn meet(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}
