use super::super::tests::{node, resolve};
use super::*;

fn dns(text: &str) -> Result<DnsConfig, String> {
    resolve(text, &node("n1")).map(|config| config.dns)
}

#[test]
fn without_the_key_the_resolver_has_its_defaults() {
    for text in ["", "dns:", "dns: {}"] {
        let config = dns(text).unwrap();
        assert_eq!(config, DnsConfig::default(), "{text:?}");
        assert_eq!(config.settings(), Settings::default());
    }
}

#[test]
fn every_key_is_taken() {
    let text = "dns:\n  servers: [192.0.2.53, '192.0.2.54:5353', '2001:db8::53', '[2001:db8::54]:5353']\n  \
                trustedServers: [10.0.0.10, 'fd00::10']\n  minTTL: 5s\n  grace: 1m 30s\n";
    let config = dns(text).unwrap();
    let servers = [
        "192.0.2.53:53",
        "192.0.2.54:5353",
        "[2001:db8::53]:53",
        "[2001:db8::54]:5353",
    ];
    let servers = servers.map(|text| text.parse::<SocketAddr>().unwrap());
    assert_eq!(config.servers.as_deref(), Some(&servers[..]));
    let trusted = ["10.0.0.10", "fd00::10"].map(|text| text.parse::<IpAddr>().unwrap());
    assert_eq!(config.trusted_servers, trusted);
    let settings = config.settings();
    assert_eq!(settings.servers.as_deref(), Some(&servers[..]));
    assert_eq!(settings.min_ttl, Duration::from_secs(5));
    assert_eq!(settings.grace, Some(Duration::from_secs(90)));
    let none = dns("dns: {grace: 0s}").unwrap();
    assert_eq!(
        none.grace,
        Some(Duration::ZERO),
        "none at all may be wanted"
    );
}

#[test]
fn the_error_names_the_key_and_what_would_be_right() {
    let cases = [
        ("dns: {server: [192.0.2.1]}", "unknown field `server`"),
        ("dns: {servers: []}", "dns.servers: is empty"),
        ("dns: {servers: 192.0.2.1}", "dns.servers"),
        ("dns: {servers: [ns.example]}", "ADDRESS:PORT"),
        ("dns: {servers: ['192.0.2.1:dns']}", "ADDRESS:PORT"),
        ("dns: {servers: ['2001:db8::1:53x']}", "ADDRESS:PORT"),
        ("dns: {servers: ['192.0.2.1:0']}", "port of a server"),
        ("dns: {servers: [0.0.0.0]}", "address"),
        ("dns: {servers: [224.0.0.251]}", "address"),
        ("dns: {servers: [192.0.2.1, '192.0.2.1:53']}", "twice"),
        (
            "dns: {trustedServers: ['192.0.2.1:53']}",
            "dns.trustedServers",
        ),
        ("dns: {trustedServers: ['::']}", "dns.trustedServers"),
        ("dns: {minTTL: 5}", "dns.minTTL"),
        ("dns: {minTTL: '5'}", "such as 30s"),
        (
            "dns: {minTTL: 0s}",
            "dns.minTTL: \"0s\" is not within 1s and 30m",
        ),
        ("dns: {minTTL: 1h}", "is not within"),
        ("dns: {grace: forever}", "such as 30s"),
        ("dns: {grace: 25h}", "dns.grace"),
        ("dns: {grace: -1s}", "dns.grace"),
    ];
    for (text, part) in cases {
        let error = dns(text).unwrap_err();
        assert!(error.contains(part), "{text:?} gave {error:?}");
    }
}
