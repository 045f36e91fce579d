//! What `weft explain --to` names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use weft_core::model::{DnsName, InvalidDnsName, Protocol};
use weft_ebpf::packet::proto;

/// Where a packet would go, and what it would carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom it is for.
    pub place: Place,
    /// What it carries.
    pub load: Load,
}

/// Whom a packet is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address.
    Address(IpAddr),
    /// Whatever addresses a name has.
    Name(DnsName),
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// An ICMP echo request: it has no port, so rules with ports do not concern it.
    Icmp,
    /// The first packet of a connection to a port.
    Port(Protocol, u16),
}

/// The text names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Nothing before the port.
    #[error(
        "{0:?} names no destination: write ADDRESS or NAME, then :PORT and /PROTOCOL if they matter"
    )]
    Empty(String),
    /// An unknown protocol, or the length of a prefix.
    #[error(
        "{0:?} is no protocol: write tcp, udp, sctp or icmp after the slash (one address, no range)"
    )]
    Protocol(String),
    /// No number, or one out of range.
    #[error("{0:?} is no port: write 1 to 65535")]
    Port(String),
    /// A protocol with ports, without one.
    #[error("{0} needs a port: write :PORT before the protocol")]
    NoPort(&'static str),
    /// A port where there is none.
    #[error("icmp has no ports: leave :{0} out")]
    IcmpPort(u16),
    /// Looks like an address and is none.
    #[error("{0:?} is no address: write IPv4 as a.b.c.d, IPv6 with a port as [ADDRESS]:PORT")]
    Address(String),
    /// No DNS name either.
    #[error("neither address nor name: {0}")]
    Name(#[from] InvalidDnsName),
}

impl Load {
    /// IP protocol number towards an address.
    pub const fn proto(self, to: IpAddr) -> u8 {
        match (self, to) {
            (Self::Port(protocol, _), _) => protocol.number(),
            (Self::Icmp, IpAddr::V4(_)) => proto::ICMP,
            (Self::Icmp, IpAddr::V6(_)) => proto::ICMPV6,
        }
    }

    /// Destination port, 0 if there is none.
    pub const fn port(self) -> u16 {
        match self {
            Self::Icmp => 0,
            Self::Port(_, port) => port,
        }
    }

    /// As `--to` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Port(protocol, _) => name(protocol),
        }
    }
}

const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.load) {
            (Place::Address(IpAddr::V6(ip)), Load::Port(..)) => write!(f, "[{ip}]")?,
            (Place::Address(ip), _) => ip.fmt(f)?,
            (Place::Name(name), _) => name.fmt(f)?,
        }
        if let Load::Port(_, port) = self.load {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.load.name())
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, protocol)) => (rest, Some(protocol)),
            None => (text, None),
        };
        let (place, port) = split_port(rest)?;
        let protocol = match protocol.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("tcp") => Some(Some(Protocol::Tcp)),
            Some("udp") => Some(Some(Protocol::Udp)),
            Some("sctp") => Some(Some(Protocol::Sctp)),
            Some("icmp") => Some(None),
            Some(other) => return Err(InvalidTarget::Protocol(other.into())),
        };
        let load = match (protocol, port) {
            (None | Some(None), None) => Load::Icmp,
            (None, Some(port)) => Load::Port(Protocol::Tcp, port),
            (Some(Some(protocol)), Some(port)) => Load::Port(protocol, port),
            (Some(Some(protocol)), None) => return Err(InvalidTarget::NoPort(name(protocol))),
            (Some(None), Some(port)) => return Err(InvalidTarget::IcmpPort(port)),
        };
        Ok(Self {
            place: place_of(place)?,
            load,
        })
    }
}

/// Takes the port off. An IPv6 address without brackets has none.
fn split_port(text: &str) -> Result<(&str, Option<u16>), InvalidTarget> {
    if let Some(inner) = text.strip_prefix('[') {
        let bad = || InvalidTarget::Address(text.into());
        let (address, rest) = inner.split_once(']').ok_or_else(bad)?;
        if !address.contains(':') {
            return Err(bad());
        }
        return match rest.strip_prefix(':') {
            Some(number) => Ok((address, Some(port(number)?))),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(bad()),
        };
    }
    match text.split_once(':') {
        Some((place, number)) if !number.contains(':') => Ok((place, Some(port(number)?))),
        _ => Ok((text, None)),
    }
}

fn port(text: &str) -> Result<u16, InvalidTarget> {
    match text.parse() {
        Ok(number) if number != 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(InvalidTarget::Port(text.into())),
    }
}

fn place_of(text: &str) -> Result<Place, InvalidTarget> {
    if text.is_empty() {
        return Err(InvalidTarget::Empty(text.into()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Place::Address(ip.to_canonical()));
    }
    let numeric = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric || text.contains(':') {
        return Err(InvalidTarget::Address(text.into()));
    }
    Ok(Place::Name(text.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_is_read_and_written_back_whole() {
        for (text, whole) in [
            ("203.0.113.7", "203.0.113.7/icmp"),
            ("203.0.113.7/ICMP", "203.0.113.7/icmp"),
            ("203.0.113.7:80", "203.0.113.7:80/tcp"),
            ("203.0.113.7:53/udp", "203.0.113.7:53/udp"),
            ("2001:db8::7", "2001:db8::7/icmp"),
            ("[2001:db8::7]", "2001:db8::7/icmp"),
            ("[2001:db8::7]:53/udp", "[2001:db8::7]:53/udp"),
            ("WWW.Example.com.:443", "www.example.com:443/tcp"),
            ("www.example.com", "www.example.com/icmp"),
            ("registry:9/sctp", "registry:9/sctp"),
            // The tables know this address as IPv4 alone.
            ("::ffff:203.0.113.7", "203.0.113.7/icmp"),
        ] {
            let read = target(text);
            assert_eq!(read.to_string(), whole, "{text}");
            assert_eq!(target(whole), read, "{whole}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error) in [
            ("", "names no destination"),
            (":80", "names no destination"),
            ("10.0.0.0/8", "\"8\" is no protocol"),
            ("203.0.113.7:80/http", "\"http\" is no protocol"),
            ("203.0.113.7:0", "\"0\" is no port"),
            ("203.0.113.7:65536", "\"65536\" is no port"),
            ("203.0.113.7:+80", "\"+80\" is no port"),
            ("203.0.113.7:", "\"\" is no port"),
            ("203.0.113.7/tcp", "tcp needs a port"),
            ("203.0.113.7:8/icmp", "icmp has no ports"),
            ("203.0.113.777", "is no address"),
            ("2001:db8::7::1", "is no address"),
            ("[2001:db8::7:80", "is no address"),
            ("[2001:db8::7]80", "is no address"),
            ("[203.0.113.7]:80", "is no address"),
            ("a..b:80", "empty label"),
            ("*.example.com", "'*'"),
        ] {
            let found = text.parse::<Target>().unwrap_err().to_string();
            assert!(found.contains(error), "{text}: {found}");
        }
    }

    #[test]
    fn an_echo_request_has_the_protocol_of_its_family() {
        assert_eq!(Load::Icmp.proto([203, 0, 113, 7].into()), 1);
        assert_eq!(Load::Icmp.proto([0; 16].into()), 58);
    }
}
