//! ClusterNetwork.

use serde::Deserialize;
use weft_core::model::{ClusterNetwork, Mode, NetworkEntry};

use super::fields::{Invalid, decode, invalid, one_a_family, overlap, range};
use crate::store::Object;

/// IANA's port of VXLAN, RFC 7348.
const DEFAULT_VXLAN_PORT: u16 = 4789;
/// An Ethernet of 1500 bytes less 50 of VXLAN over IPv4.
const DEFAULT_MTU: u16 = 1450;
/// RFC 8200, section 5.
const IPV6_MIN_MTU: u16 = 1280;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    cluster_networks: Option<Vec<Entry>>,
    service_network: String,
    /// Extension: all service ranges, the first is `serviceNetwork`.
    service_networks: Option<Vec<String>>,
    plugin_name: String,
    vxlan_port: Option<u64>,
    mtu: Option<u64>,
    /// Legacy, the first entry of `clusterNetworks`.
    network: Option<String>,
    #[serde(rename = "hostsubnetlength")]
    host_subnet_length: Option<u64>,
    /// Written by whoever reports; nothing is read from it.
    #[serde(rename = "status")]
    _status: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(rename = "CIDR")]
    cidr: String,
    host_subnet_length: u64,
}

/// Validates a ClusterNetwork.
pub fn cluster_network(object: &Object) -> Result<ClusterNetwork, Invalid> {
    let fields: Fields = decode(object)?;
    let networks = networks(&fields)?;
    let first = range("serviceNetwork", &fields.service_network)?;
    let services = one_a_family(
        "serviceNetwork",
        first,
        "serviceNetworks",
        fields.service_networks.as_deref(),
    )?;
    no_overlap(&networks, &services)?;
    let network = ClusterNetwork {
        mode: mode(&fields.plugin_name)?,
        vxlan_port: number("vxlanPort", fields.vxlan_port, DEFAULT_VXLAN_PORT, 1)?,
        mtu: number("mtu", fields.mtu, DEFAULT_MTU, 576)?,
        networks,
        services,
    };
    let mut cidrs = network.networks.iter().map(|entry| entry.cidr);
    if let Some(cidr) = cidrs.find(|cidr| cidr.addr().is_ipv6())
        && network.mtu < IPV6_MIN_MTU
    {
        let reason = format!(
            "is {}, but the IPv6 range {cidr} needs {IPV6_MIN_MTU}",
            network.mtu
        );
        return invalid("mtu", reason);
    }
    Ok(network)
}

fn mode(plugin: &str) -> Result<Mode, Invalid> {
    let name = plugin.to_lowercase();
    match name.strip_prefix("redhat/openshift-ovs-").unwrap_or(&name) {
        "subnet" => Ok(Mode::Subnet),
        "multitenant" => Ok(Mode::Multitenant),
        "networkpolicy" => invalid(
            "pluginName",
            "the networkpolicy mode is not supported yet: use subnet or multitenant",
        ),
        _ => invalid(
            "pluginName",
            format!(
                "{plugin:?} is unknown: use redhat/openshift-ovs-subnet or redhat/openshift-ovs-multitenant"
            ),
        ),
    }
}

fn networks(fields: &Fields) -> Result<Vec<NetworkEntry>, Invalid> {
    let legacy = fields.network.as_deref().filter(|text| !text.is_empty());
    let length = fields.host_subnet_length;
    let entries = fields.cluster_networks.as_deref().unwrap_or_default();
    let mut networks = Vec::new();
    for (
        index,
        Entry {
            cidr,
            host_subnet_length,
        },
    ) in entries.iter().enumerate()
    {
        let path = format!("clusterNetworks[{index}]");
        let names = (format!("{path}.CIDR"), format!("{path}.hostSubnetLength"));
        networks.push(entry((&names.0, cidr), (&names.1, *host_subnet_length))?);
    }
    let Some(first) = networks.first() else {
        let (Some(network), Some(length)) = (legacy, length) else {
            return invalid(
                "clusterNetworks",
                "is empty: name at least one {CIDR, hostSubnetLength}",
            );
        };
        return Ok(vec![entry(
            ("network", network),
            ("hostsubnetlength", length),
        )?]);
    };
    if let Some(text) = legacy
        && range("network", text)? != first.cidr
    {
        let reason = format!("is {text}, must be clusterNetworks[0].CIDR, {}", first.cidr);
        return invalid("network", reason);
    }
    if let Some(length) = length
        && length != u64::from(first.host_bits)
    {
        let wanted = first.host_bits;
        let reason = format!("is {length}, must be clusterNetworks[0].hostSubnetLength, {wanted}");
        return invalid("hostsubnetlength", reason);
    }
    Ok(networks)
}

/// Each pair is a field's path and its value.
fn entry(cidr: (&str, &str), length: (&str, u64)) -> Result<NetworkEntry, Invalid> {
    let cidr = range(cidr.0, cidr.1)?;
    let available = cidr.max_prefix_len() - cidr.prefix_len();
    match u8::try_from(length.1) {
        Ok(host_bits) if (2..=available).contains(&host_bits) => {
            Ok(NetworkEntry { cidr, host_bits })
        }
        _ => {
            let reason = format!("is {}, must be 2 to {available} in {cidr}", length.1);
            invalid(length.0, reason)
        }
    }
}

fn no_overlap(networks: &[NetworkEntry], services: &[ipnet::IpNet]) -> Result<(), Invalid> {
    for (index, entry) in networks.iter().enumerate() {
        let path = format!("clusterNetworks[{index}].CIDR");
        let mut others = networks.iter().take(index).map(|other| other.cidr);
        if let Some(other) = others.find(|other| overlap(other, &entry.cidr)) {
            return invalid(&path, format!("{} overlaps {other}", entry.cidr));
        }
        if let Some(service) = services.iter().find(|s| overlap(s, &entry.cidr)) {
            let reason = format!("{} overlaps the service range {service}", entry.cidr);
            return invalid(&path, reason);
        }
    }
    Ok(())
}

fn number(field: &str, given: Option<u64>, default: u16, min: u16) -> Result<u16, Invalid> {
    match given {
        None => Ok(default),
        Some(n) => match u16::try_from(n) {
            Ok(n) if n >= min => Ok(n),
            _ => invalid(field, format!("is {n}, must be {min} to {}", u16::MAX)),
        },
    }
}
