//! The keys below `dns`: which name servers the agent asks, and how long it keeps what they say.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::dns::Settings;

/// The port of a name server that is written without one.
const PORT: u16 = 53;
/// Bounds of `minTTL`: shorter floods the servers, and the longest TTL is no shorter than the shortest.
const MIN_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_mins(30);
/// The longest `grace`: an address that left its name belongs to somebody else sooner or later.
const GRACE_MAX: Duration = Duration::from_hours(24);

/// How the agent resolves the names of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Name servers in the order to ask them; those of `/etc/resolv.conf` if there are none here.
    pub servers: Option<Vec<SocketAddr>>,
    /// Name servers whose answers to pods are believed, beside those that the agent asks.
    pub trusted_servers: Vec<IpAddr>,
    /// The shortest TTL; the resolver's own default without it.
    pub min_ttl: Option<Duration>,
    /// How long an address stays after it dropped out of an answer; one TTL, at least 30 s, without it.
    pub grace: Option<Duration>,
}

/// The keys as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DnsKeys {
    servers: Option<Vec<String>>,
    trusted_servers: Option<Vec<IpAddr>>,
    #[serde(rename = "minTTL")]
    min_ttl: Option<String>,
    grace: Option<String>,
}

impl DnsConfig {
    pub(super) fn resolve(keys: Option<DnsKeys>) -> Result<Self, ConfigError> {
        let DnsKeys {
            servers,
            trusted_servers,
            min_ttl,
            grace,
        } = keys.unwrap_or_default();
        let trusted_servers = trusted_servers.unwrap_or_default();
        if let Some(address) = trusted_servers.iter().find(|ip| !is_server(**ip)) {
            return Err(value(
                "dns.trustedServers",
                format!("{address} is no address of a server"),
            ));
        }
        Ok(Self {
            servers: servers.map(|servers| parse_servers(&servers)).transpose()?,
            trusted_servers,
            min_ttl: duration("dns.minTTL", min_ttl, MIN_TTL)?,
            grace: duration("dns.grace", grace, Duration::ZERO..=GRACE_MAX)?,
        })
    }

    /// The resolver's settings: its defaults where nothing is configured.
    pub fn settings(&self) -> Settings {
        let default = Settings::default();
        Settings {
            servers: self.servers.clone(),
            min_ttl: self.min_ttl.unwrap_or(default.min_ttl),
            grace: self.grace.or(default.grace),
            ..default
        }
    }
}

fn value(key: &'static str, reason: String) -> ConfigError {
    ConfigError::Value { key, reason }
}

fn parse_servers(texts: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    let fail = |reason| Err(value("dns.servers", reason));
    if texts.is_empty() {
        return fail(
            "is empty: name a server, or leave the key out to use /etc/resolv.conf".into(),
        );
    }
    let mut servers = Vec::with_capacity(texts.len());
    for text in texts {
        let ip = text.parse().map(|ip| SocketAddr::new(ip, PORT));
        let Ok(server) = ip.or_else(|_| text.parse::<SocketAddr>()) else {
            return fail(format!(
                "{text:?} is no server: write ADDRESS or ADDRESS:PORT, as 192.0.2.53, 192.0.2.53:5353 \
                 or [2001:db8::53]:5353"
            ));
        };
        if !is_server(server.ip()) || server.port() == 0 {
            return fail(format!("{text:?} is no address and port of a server"));
        }
        if servers.contains(&server) {
            return fail(format!("names {server} twice: keep one"));
        }
        servers.push(server);
    }
    Ok(servers)
}

fn is_server(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

fn duration(
    key: &'static str,
    text: Option<String>,
    bounds: std::ops::RangeInclusive<Duration>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let duration = humantime::parse_duration(&text).map_err(|error| {
        let reason = format!("{text:?}: {error}: write a number and its unit, such as 30s or 5m");
        value(key, reason)
    })?;
    if !bounds.contains(&duration) {
        let [from, to] = [bounds.start(), bounds.end()].map(|d| humantime::format_duration(*d));
        return Err(value(
            key,
            format!("{text:?} is not within {from} and {to}"),
        ));
    }
    Ok(Some(duration))
}

#[cfg(test)]
mod tests;
