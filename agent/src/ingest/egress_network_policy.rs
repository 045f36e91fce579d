//! EgressNetworkPolicy.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use weft_core::model::{
    Action, Destination, EgressPolicy, EgressRule, NamePattern, Ports, Protocol, check_name,
};

use super::fields::{API_VERSION, Invalid, Valid, decode_fields, invalid, parse_range};
use crate::store::Object;

/// The version that OpenShift served before it had groups.
const OLD_API_VERSION: &str = "v1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    spec: Spec,
    /// Written by whoever reports; nothing is read from it.
    #[serde(rename = "status")]
    _status: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    egress: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(rename = "type")]
    kind: Kind,
    to: To,
}

#[derive(Clone, Copy, Deserialize)]
enum Kind {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct To {
    cidr_selector: Option<String>,
    dns_name: Option<String>,
    /// Extension: only these ports.
    ports: Option<Vec<PortRange>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PortRange {
    protocol: Proto,
    port: u16,
    end_port: Option<u16>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Proto {
    Tcp,
    Udp,
    Sctp,
}

/// Validates an EgressNetworkPolicy. One that is invalid is a policy all the same: it closes its project.
pub fn egress_network_policy(object: &Object) -> Valid<Arc<EgressPolicy>> {
    match read(object) {
        Ok((rules, warning)) => Valid {
            value: EgressPolicy::new(&object.key.namespace, rules),
            warning,
        },
        Err(Invalid(reason)) => Valid {
            value: EgressPolicy::invalid(reason),
            warning: None,
        },
    }
}

fn read(object: &Object) -> Result<(Vec<EgressRule>, Option<String>), Invalid> {
    if ![API_VERSION, OLD_API_VERSION].contains(&object.api_version.as_str()) {
        let reason = format!("is {:?}, must be {API_VERSION:?}", object.api_version);
        return invalid("apiVersion", reason);
    }
    if let Err(reason) = check_name(&object.key.name) {
        return invalid("metadata.name", reason);
    }
    let fields: Fields = decode_fields(object)?;
    let mut warning = None;
    let rules = fields.spec.egress.into_iter().enumerate();
    let rules =
        rules.map(|(index, rule)| rule_of(&format!("spec.egress[{index}]"), rule, &mut warning));
    Ok((rules.collect::<Result<_, _>>()?, warning))
}

fn rule_of(path: &str, rule: Rule, warning: &mut Option<String>) -> Result<EgressRule, Invalid> {
    let to = format!("{path}.to");
    let destination = match (rule.to.cidr_selector, rule.to.dns_name) {
        (Some(cidr), None) => {
            Destination::Cidr(network(&format!("{to}.cidrSelector"), &cidr, warning)?)
        }
        (None, Some(name)) => Destination::Name(pattern(&format!("{to}.dnsName"), &name)?),
        (Some(_), Some(_)) => {
            return invalid(
                &to,
                "has both cidrSelector and dnsName: write one rule for each",
            );
        }
        (None, None) => return invalid(&to, "has neither cidrSelector nor dnsName: name one"),
    };
    let ports = rule
        .to
        .ports
        .map(|ports| port_list(&format!("{to}.ports"), &ports));
    Ok(EgressRule {
        action: match rule.kind {
            Kind::Allow => Action::Allow,
            Kind::Deny => Action::Deny,
        },
        to: destination,
        ports: ports.transpose()?.unwrap_or_default(),
    })
}

fn network(field: &str, text: &str, warning: &mut Option<String>) -> Result<IpNet, Invalid> {
    let Some(range) = parse_range(text) else {
        return invalid(
            field,
            format!("{text:?} is no address range: write ADDRESS/LENGTH"),
        );
    };
    if text == "0.0.0.0/32" {
        *warning = Some(format!(
            "{field}: 0.0.0.0/32 is taken for 0.0.0.0/0: write that"
        ));
        return Ok(IpNet::V4(Ipv4Net::default()));
    }
    if range != range.trunc() {
        let reason = format!("{range} has host bits set: write {}", range.trunc());
        return invalid(field, reason);
    }
    if let IpNet::V6(six) = range
        && six.network().to_ipv4_mapped().is_some()
        && six.prefix_len() >= 96
    {
        return invalid(
            field,
            format!("{range} is an IPv4 range in disguise: write it as IPv4"),
        );
    }
    Ok(range)
}

fn pattern(field: &str, text: &str) -> Result<NamePattern, Invalid> {
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(parent) => (true, parent),
        None => (false, text),
    };
    if name.contains('*') {
        let reason =
            format!("{text:?}: a star stands at the beginning only, as in \"*.example.com\"");
        return invalid(field, reason);
    }
    if name.parse::<IpAddr>().is_ok() {
        let reason = format!("{text:?} is an address, which no DNS answer names: use cidrSelector");
        return invalid(field, reason);
    }
    match name.parse() {
        Ok(name) if wildcard => Ok(NamePattern::Below(name)),
        Ok(name) => Ok(NamePattern::Exact(name)),
        Err(error) => invalid(field, error),
    }
}

fn port_list(field: &str, ports: &[PortRange]) -> Result<Vec<Ports>, Invalid> {
    if ports.is_empty() {
        return invalid(field, "is empty: leave it out for all ports");
    }
    let ports = ports.iter().enumerate().map(|(index, it)| {
        let last = it.end_port.unwrap_or(it.port);
        if it.port == 0 {
            return invalid(
                &format!("{field}[{index}].port"),
                "is 0, must be 1 to 65535",
            );
        }
        if last < it.port {
            let reason = format!("is {last}, must not be below port, {}", it.port);
            return invalid(&format!("{field}[{index}].endPort"), reason);
        }
        Ok(Ports {
            protocol: match it.protocol {
                Proto::Tcp => Protocol::Tcp,
                Proto::Udp => Protocol::Udp,
                Proto::Sctp => Protocol::Sctp,
            },
            range: it.port..=last,
        })
    });
    ports.collect()
}
