//! HostSubnet.

use ipnet::IpNet;
use serde::Deserialize;
use weft_core::model::{ClusterNetwork, HostSubnet};

use super::fields::{
    Invalid, Valid, decode, host_address, invalid, one_a_family, range, same_as_name,
};
use crate::store::Object;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    host: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
    subnet: Option<String>,
    /// Extension: all subnets, the first is `subnet`.
    subnets: Option<Vec<String>>,
    #[serde(rename = "egressIPs")]
    egress_ips: Option<Vec<String>>,
    #[serde(rename = "egressCIDRs")]
    egress_cidrs: Option<Vec<String>>,
    /// Written by whoever reports; nothing is read from it.
    #[serde(rename = "status")]
    _status: Option<serde::de::IgnoredAny>,
}

/// Validates a HostSubnet by itself; whether it suits the ClusterNetwork is for [`fits`]. Bad egress addresses are no
/// reason to cut a node off, and become a warning.
pub fn host_subnet(object: &Object) -> Result<Valid<HostSubnet>, Invalid> {
    let fields: Fields = decode(object)?;
    same_as_name("host", &fields.host, object)?;
    let ip = host_address("hostIP", &fields.host_ip)?;
    let subnet = fields.subnet.unwrap_or_default();
    if subnet.is_empty() {
        return invalid(
            "subnet",
            "is missing: the controller has not assigned one yet",
        );
    }
    let first = range("subnet", &subnet)?;
    let subnets = one_a_family("subnet", first, "subnets", fields.subnets.as_deref())?;
    for subnet in &subnets {
        if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
            let reason = format!("{subnet} is too small: it must leave at least 2 bits for pods");
            return invalid("subnet", reason);
        }
    }
    let egress = egress(
        &fields.egress_ips.unwrap_or_default(),
        &fields.egress_cidrs.unwrap_or_default(),
    );
    Ok(Valid {
        value: HostSubnet {
            name: fields.host,
            ip,
            subnets,
        },
        warning: egress.err().map(|e| e.to_string()),
    })
}

fn egress(ips: &[String], cidrs: &[String]) -> Result<(), Invalid> {
    for (index, ip) in ips.iter().enumerate() {
        host_address(&format!("egressIPs[{index}]"), ip)?;
    }
    for (index, cidr) in cidrs.iter().enumerate() {
        range(&format!("egressCIDRs[{index}]"), cidr)?;
    }
    Ok(())
}

/// Checks a HostSubnet against the cluster's ranges.
pub fn fits(host: &HostSubnet, network: &ClusterNetwork) -> Result<(), Invalid> {
    let pods = network.networks.iter().map(|entry| &entry.cidr);
    let mut ranges = pods.clone().chain(&network.services);
    if let Some(range) = ranges.find(|range| range.contains(&host.ip)) {
        let reason = format!("{} is inside the cluster's own range {range}", host.ip);
        return invalid("hostIP", reason);
    }
    let inside = |subnet: &IpNet| pods.clone().any(|range| range.contains(subnet));
    match host.subnets.iter().find(|subnet| !inside(subnet)) {
        None => Ok(()),
        Some(subnet) => {
            let ranges: Vec<String> = pods.clone().map(ToString::to_string).collect();
            let reason = format!(
                "{subnet} is outside the cluster's ranges {}",
                ranges.join(", ")
            );
            invalid("subnet", reason)
        }
    }
}
