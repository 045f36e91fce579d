//! The egress firewall: packets to the outside by the number of rules, and what answers of name servers teach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::ensure;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_core::model::{
    Action, Change, Destination, EgressPolicy, EgressRule, EgressSettings, NamePattern,
};

use super::Rigs;
use super::cluster::{Cluster, Prefixes};
use super::packets::{Case, datagram, tcp, udp};

/// What only the last rules match.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9);
/// What a rule of its own allows.
const SINGLE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// The name server, and the name that a policy allows.
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
const NAME: &str = "www.bench.test";
/// A name as long that none does.
const OTHER_NAME: &str = "ftp.bench.test";
/// What the name server answers.
const TOLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 177);
/// The pod whose project's policy has the same rules and a name before them.
const BY_NAME: u32 = 2;

/// Pod 0 has a policy of prefixes, pod 2 one with a name, too.
pub const CASES: &[Case] = &[
    Case::to_outside("TCP, the last rule", |_, _| tcp(Cluster::pod(0), OUTSIDE)),
    Case::to_outside("TCP, a /32 of its own", |_, _| tcp(Cluster::pod(0), SINGLE)),
    Case::to_outside("UDP, the last rule", |_, _| udp(Cluster::pod(0), OUTSIDE)),
    Case::to_outside("TCP over IPv6, the last rule", |_, _| {
        tcp(Cluster::pod6(0), OUTSIDE6)
    }),
    Case::to_outside("TCP, the last rule, names before it", |_, _| {
        tcp(Cluster::pod(BY_NAME), OUTSIDE)
    }),
    Case::answer("DNS answer, a name allowed", asks_name, |_, _| answer(NAME)),
    Case::answer("DNS answer, another name", asks_other, |_, _| {
        answer(OTHER_NAME)
    }),
];

/// A small cluster whose projects have policies of so many rules; of none without.
pub fn cluster(rules: u32) -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new(3, Prefixes::Few);
    let world = &mut cluster.world;
    world.take(Change::EgressSettings(EgressSettings {
        trusted: [IpAddr::V4(SERVER)].into(),
        ..EgressSettings::default()
    }));
    for (id, mut endpoint) in world.endpoints.clone() {
        if endpoint.pod == "pod0" {
            endpoint.addresses.push(Cluster::pod6(0).into());
            world.take(Change::Endpoint(id, Some(endpoint)));
        }
    }
    if rules > 0 {
        let mix = mix(rules)?;
        let name = Destination::Name(NamePattern::Exact(NAME.parse()?));
        let mut by_name = vec![rule(Action::Allow, name)];
        by_name.extend(mix.iter().take(mix.len() - 1).cloned());
        for (project, rules) in [("project0", mix), ("project1", by_name)] {
            let policy = EgressPolicy::new(project, rules);
            let change = Change::EgressPolicy(project.into(), "bench".into(), Some(policy));
            world.take(change);
        }
    }
    Ok(cluster)
}

/// That the answers have taught, where they should.
pub fn check(rigs: &Rigs) -> anyhow::Result<()> {
    for (rules, rig) in rigs {
        let learned = rig.maps.learned.keys().count();
        ensure!(
            (learned > 0) == (*rules > 0),
            "{learned} addresses learned with {rules} rules: this measured something else"
        );
    }
    Ok(())
}

fn rule(action: Action, to: Destination) -> EgressRule {
    EgressRule {
        action,
        to,
        ports: vec![],
    }
}

/// Two of three for IPv4; half single addresses, the others of all lengths from /8 (IPv6: /34 to /81) and nested in each
/// other; one of two denies. None but the last two concerns what is sent, except one for a single address.
pub fn mix(rules: u32) -> anyhow::Result<Vec<EgressRule>> {
    let mut mix = vec![rule(
        Action::Allow,
        Destination::Cidr(IpNet::from(IpAddr::V4(SINGLE))),
    )];
    for n in 0..rules.saturating_sub(3) {
        let action = if n % 2 == 0 {
            Action::Deny
        } else {
            Action::Allow
        };
        mix.push(rule(action, Destination::Cidr(prefix(n)?)));
    }
    for everything in ["0.0.0.0/0", "::/0"] {
        mix.push(rule(Action::Allow, Destination::Cidr(everything.parse()?)));
    }
    Ok(mix)
}

fn prefix(n: u32) -> anyhow::Result<IpNet> {
    // Addresses spread by an odd factor; within 32.0.0.0/3 and 2001:db8:8000::/33 they nest, and meet nothing that is sent.
    let spread = n.wrapping_mul(0x9e37_79b1);
    let single = (n / 3).is_multiple_of(2);
    if n % 3 == 2 {
        let long = if single { 128 } else { 34 + n / 6 % 48 };
        let high = 0x2001_0db8_8000_0000_u64 | u64::from(spread >> 1);
        let address = u128::from(high) << 64 | u128::from(spread);
        let net = Ipv6Net::new(Ipv6Addr::from(address), u8::try_from(long)?)?;
        return Ok(IpNet::V6(net.trunc()));
    }
    let long = if single { 32 } else { 8 + n / 6 % 25 };
    let address = Ipv4Addr::from(0x2000_0000 | spread >> 3);
    let net = Ipv4Net::new(address, u8::try_from(long)?)?;
    Ok(IpNet::V4(net.trunc()))
}

fn asks_name(_: &Cluster, _: u32) -> anyhow::Result<Vec<u8>> {
    asks(NAME)
}

fn asks_other(_: &Cluster, _: u32) -> anyhow::Result<Vec<u8>> {
    asks(OTHER_NAME)
}

fn asks(name: &str) -> anyhow::Result<Vec<u8>> {
    let pod = (Cluster::pod(BY_NAME).into(), 40_000);
    datagram(pod, (SERVER.into(), 53), &message(0x0100, 0, name)?)
}

fn answer(name: &str) -> anyhow::Result<Vec<u8>> {
    let pod = (Cluster::pod(BY_NAME).into(), 40_000);
    let mut message = message(0x8180, 1, name)?;
    // The question's name, A, IN, a minute, four bytes.
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(TOLD.octets());
    datagram((SERVER.into(), 53), pod, &message)
}

/// A message with a question (RFC 1035 section 4.1).
fn message(flags: u16, answers: u16, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for field in [7, flags, 1, answers, 0, 0] {
        bytes.extend(u16::to_be_bytes(field));
    }
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len())?);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    Ok(bytes)
}
