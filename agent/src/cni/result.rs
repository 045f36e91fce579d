//! The result object of ADD, in every version of the specification, and `prevResult` read back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use weft_core::model::Endpoint;

use super::spec::SpecVersion;

/// The pods' IPv4 next hop. No interface has it: a permanent neighbour entry answers for it.
pub const NEXT_HOP_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The pods' IPv6 next hop, alike.
pub const NEXT_HOP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The next hop in an address's family.
pub fn next_hop(of: &IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => NEXT_HOP_V4.into(),
        IpAddr::V6(_) => NEXT_HOP_V6.into(),
    }
}

/// An attachment as ADD reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Addresses, MAC addresses, names.
    pub endpoint: Endpoint,
    /// CNI_NETNS as the runtime spelled it.
    pub sandbox: String,
    /// MTU of both ends.
    pub mtu: u16,
    /// Cluster and service networks.
    pub routes: Vec<IpNet>,
}

impl Attached {
    /// The result object. Versions before 0.3.0 know one address a family and no interfaces.
    pub fn to_json(&self, version: SpecVersion) -> Value {
        if version < SpecVersion::V0_3_0 {
            self.old(version)
        } else {
            self.with_interfaces(version)
        }
    }

    fn old(&self, version: SpecVersion) -> Value {
        let mut result = Map::new();
        result.insert("cniVersion".into(), version.as_str().into());
        for address in &self.endpoint.addresses {
            let key = if address.is_ipv4() { "ip4" } else { "ip6" };
            let routes: Vec<Value> = self
                .routes_of(address)
                .map(|dst| json!({"dst": dst, "gw": next_hop(address)}))
                .collect();
            let config = json!({
                "ip": IpNet::from(*address).to_string(),
                "gateway": next_hop(address),
                "routes": routes,
            });
            result.insert(key.into(), config);
        }
        result.insert("dns".into(), json!({}));
        Value::Object(result)
    }

    fn with_interfaces(&self, version: SpecVersion) -> Value {
        let mut interfaces = [
            json!({
                "name": self.endpoint.host_ifname,
                "mac": mac_text(&weft_ebpf::rows::GATEWAY_MAC),
            }),
            json!({
                "name": self.endpoint.id.ifname,
                "mac": mac_text(&self.endpoint.mac),
                "sandbox": self.sandbox,
            }),
        ];
        if version >= SpecVersion::V1_1_0 {
            for interface in &mut interfaces {
                interface["mtu"] = self.mtu.into();
            }
        }
        let ip = |address: &IpAddr| {
            let mut ip = json!({
                "address": IpNet::from(*address).to_string(),
                "gateway": next_hop(address),
                "interface": 1,
            });
            if version < SpecVersion::V1_0_0 {
                ip["version"] = if address.is_ipv4() { "4" } else { "6" }.into();
            }
            ip
        };
        let routes = self.endpoint.addresses.iter().flat_map(|address| {
            self.routes_of(address)
                .map(|dst| json!({"dst": dst, "gw": next_hop(address)}))
        });
        json!({
            "cniVersion": version.as_str(),
            "interfaces": interfaces,
            "ips": self.endpoint.addresses.iter().map(ip).collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "dns": {},
        })
    }

    /// Destinations by the next hop of the address's family, the default route first.
    fn routes_of(&self, address: &IpAddr) -> impl Iterator<Item = String> {
        let v4 = address.is_ipv4();
        let default = if v4 { "0.0.0.0/0" } else { "::/0" };
        std::iter::once(default.to_owned()).chain(
            self.routes
                .iter()
                .filter(move |net| net.addr().is_ipv4() == v4)
                .map(IpNet::to_string),
        )
    }
}

/// `0a:58:0a:80:00:02`
pub fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// What `prevResult` says differently from `attached`. A chain's later plugins may have added to it, so what it says
/// beside our interface and our addresses is not looked at.
pub fn contradiction(prev_result: &Value, attached: &Attached) -> Option<String> {
    let list = |key: &str| {
        let items = prev_result.get(key).and_then(Value::as_array);
        items.map_or(&[][..], Vec::as_slice)
    };
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let interfaces = list("interfaces");
    let ours = interfaces.iter().position(|i| {
        text(i, "name").as_deref() == Some(attached.endpoint.id.ifname.as_str())
            && text(i, "sandbox").is_some_and(|s| !s.is_empty())
    });
    let Some(ours) = ours else {
        return Some(format!(
            "prevResult has no interface {} inside a sandbox",
            attached.endpoint.id.ifname
        ));
    };
    let mac = mac_text(&attached.endpoint.mac);
    if text(&interfaces[ours], "mac").is_some_and(|m| !m.eq_ignore_ascii_case(&mac)) {
        return Some(format!("prevResult has another MAC address than {mac}"));
    }
    let mut stated: Vec<IpAddr> = list("ips")
        .iter()
        .filter(|ip| ip.get("interface").and_then(Value::as_u64) == Some(ours as u64))
        .filter_map(|ip| text(ip, "address"))
        .filter_map(|a| a.split('/').next().and_then(|a| a.parse().ok()))
        .collect();
    let mut actual = attached.endpoint.addresses.clone();
    stated.sort_unstable();
    actual.sort_unstable();
    (stated != actual).then(|| {
        format!(
            "prevResult gives {} the addresses {stated:?}, it has {actual:?}",
            attached.endpoint.id.ifname
        )
    })
}
