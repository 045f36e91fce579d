//! Fields of our own API objects: decoded strictly, with the path of what is wrong.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde_json::Value;

use weft_core::model::check_name;

use crate::store::Object;

/// Group and version of our own kinds.
pub const API_VERSION: &str = "network.openshift.io/v1";

/// Why an object is refused: the path of the field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A usable object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid<T> {
    /// What it says.
    pub value: T,
    /// What is wrong with a part of it that can be left out.
    pub warning: Option<String>,
}

/// Shorthand for an error about a field.
pub(super) fn invalid<T>(field: &str, reason: impl std::fmt::Display) -> Result<T, Invalid> {
    Err(Invalid(format!("{field}: {reason}")))
}

/// Checks what all our cluster-wide kinds have in common and decodes the fields beside apiVersion, kind and metadata.
pub(super) fn decode<T: DeserializeOwned>(object: &Object) -> Result<T, Invalid> {
    if object.api_version != API_VERSION {
        let reason = format!("is {:?}, must be {API_VERSION:?}", object.api_version);
        return invalid("apiVersion", reason);
    }
    if let Err(reason) = check_name(&object.key.name) {
        return invalid("metadata.name", reason);
    }
    if !object.key.namespace.is_empty() {
        let reason = format!("{} is cluster-wide: leave it out", object.key.kind);
        return invalid("metadata.namespace", reason);
    }
    decode_fields(object)
}

/// Decodes the fields beside apiVersion, kind and metadata.
pub(super) fn decode_fields<T: DeserializeOwned>(object: &Object) -> Result<T, Invalid> {
    let mut fields = object.value.clone();
    if let Value::Object(map) = &mut fields {
        map.retain(|field, _| !["apiVersion", "kind", "metadata"].contains(&field.as_str()));
    }
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner();
        Invalid(if path == "." {
            reason.to_string()
        } else {
            format!("{path}: {reason}")
        })
    })
}

/// The duplicate of the object's name that our kinds carry.
pub(super) fn same_as_name(field: &str, text: &str, object: &Object) -> Result<(), Invalid> {
    let name = &object.key.name;
    if text == name {
        return Ok(());
    }
    invalid(
        field,
        format!("is {text:?}, must be metadata.name, {name:?}"),
    )
}

/// An address range without host bits.
pub(super) fn range(field: &str, text: &str) -> Result<IpNet, Invalid> {
    let Some(range) = parse_range(text) else {
        let reason = format!("{text:?} is no address range: write ADDRESS/LENGTH");
        return invalid(field, reason);
    };
    if range != range.trunc() {
        let reason = format!("{range} has host bits set: write {}", range.trunc());
        return invalid(field, reason);
    }
    if let Some((reserved, what)) = reserved(range) {
        return invalid(field, format!("{range} overlaps {reserved}, {what}"));
    }
    Ok(range)
}

/// Stricter than `ipnet`, which takes leading zeros, where some readers see octal numbers.
pub(super) fn parse_range(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let plain = plain && (length == "0" || !length.starts_with('0'));
    let length = length.parse().ok().filter(|_| plain)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// Ranges that cannot be a pod or service range. Mapped addresses matter because rows hold IPv4 addresses in that form.
const RESERVED: [(&str, &str); 10] = [
    ("0.0.0.0/8", "which means this host"),
    ("127.0.0.0/8", "the loopback range"),
    ("169.254.0.0/16", "the link-local range"),
    ("224.0.0.0/4", "the multicast range"),
    ("::/127", "the unspecified and loopback addresses"),
    ("::ffff:0:0/96", "the IPv4-mapped range"),
    (
        "::/80",
        "the range of addresses with an IPv4 address in them",
    ),
    ("fe80::/10", "the link-local range"),
    ("ff00::/8", "the multicast range"),
    ("255.255.255.255/32", "the broadcast address"),
];

fn reserved(range: IpNet) -> Option<(IpNet, &'static str)> {
    RESERVED.iter().find_map(|(text, what)| {
        let reserved: IpNet = text.parse().ok()?;
        overlap(&reserved, &range).then_some((reserved, *what))
    })
}

/// Whether two ranges share an address.
pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// A unicast address of a host.
pub(crate) fn host_address(field: &str, text: &str) -> Result<IpAddr, Invalid> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return invalid(field, format!("{text:?} is no IP address"));
    };
    match reserved(address.into()) {
        // An underlay of link-local addresses is odd but works.
        Some((_, what)) if what != "the link-local range" => invalid(
            field,
            format!("{address} cannot be a host's, it is in {what}"),
        ),
        _ => Ok(address),
    }
}

/// Whether two addresses are of one family.
pub(super) fn same_family(a: &IpNet, b: &IpNet) -> bool {
    a.addr().is_ipv4() == b.addr().is_ipv4()
}

/// At most one range a family, and the plural field's first is the singular one. Answers all of them.
pub(super) fn one_a_family(
    field: &str,
    first: IpNet,
    plural: &str,
    all: Option<&[String]>,
) -> Result<Vec<IpNet>, Invalid> {
    let Some(all) = all else {
        return Ok(vec![first]);
    };
    let mut ranges: Vec<IpNet> = Vec::new();
    for (index, text) in all.iter().enumerate() {
        let path = format!("{plural}[{index}]");
        let range = range(&path, text)?;
        if index == 0 && range != first {
            return invalid(&path, format!("is {range}, must be {field}, {first}"));
        }
        if let Some(other) = ranges.iter().find(|other| same_family(other, &range)) {
            let reason = format!("{range} is a second range of the family of {other}");
            return invalid(&path, reason);
        }
        ranges.push(range);
    }
    if ranges.is_empty() {
        return invalid(
            plural,
            format!("is empty: leave it out or begin it with {first}"),
        );
    }
    Ok(ranges)
}
