//! Random egress policies, and what is known of their names.
//!
//! Few distinct addresses, names and ports, so that prefixes nest, names cover each other and ranges overlap.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use weft_core::model::{
    Action, Conflicts, Destination, DnsName, EgressPolicy, EgressRule, EgressSettings, NamePattern,
    Ports, Protocol,
};

/// Prefixes are cut from these: some share all but the last bits.
const BASES_V4: [[u8; 4]; 6] = [
    [198, 51, 100, 0],
    [198, 51, 100, 7],
    [198, 51, 100, 6],
    [198, 51, 228, 7],
    [70, 51, 100, 7],
    [192, 168, 50, 10],
];
const BASES_V6: [[u16; 8]; 5] = [
    [0x2001, 0xdb8, 0, 1, 0, 0, 0, 7],
    [0x2001, 0xdb8, 0, 1, 0, 0, 0, 6],
    [0x2001, 0xdb8, 0, 1, 0xff00, 0, 0, 7],
    [0x2001, 0xdb8, 0xf000, 1, 0, 0, 0, 7],
    [0x6001, 0xdb8, 0, 1, 0, 0, 0, 7],
];
/// `b.a.example.com` is covered by itself and three wildcards: as many as one address can be learned for.
pub const PATTERNS: [&str; 8] = [
    "b.a.example.com",
    "*.a.example.com",
    "*.example.com",
    "*.com",
    "example.com",
    "a.example.com",
    "x.test",
    "*.b.a.example.com",
];
/// Names that pods are told the addresses of.
pub const NAMES: [&str; 5] = [
    "b.a.example.com",
    "c.a.example.com",
    "example.com",
    "other.com",
    "x.test",
];
const PORTS: [(Protocol, u16, u16); 8] = [
    (Protocol::Tcp, 80, 80),
    (Protocol::Tcp, 1, 1024),
    (Protocol::Tcp, 79, 443),
    (Protocol::Tcp, 1, u16::MAX),
    (Protocol::Tcp, u16::MAX, u16::MAX),
    (Protocol::Udp, 53, 53),
    (Protocol::Udp, 50, 4790),
    (Protocol::Sctp, 80, 81),
];
/// Most lengths beside the family's shortest that one IPv6 policy of these has.
const MOST_LENGTHS: usize = 60;

pub fn name_pattern(text: &str) -> NamePattern {
    match text.strip_prefix("*.") {
        Some(parent) => NamePattern::Below(parent.parse().unwrap()),
        None => NamePattern::Exact(text.parse().unwrap()),
    }
}

/// An address that some prefix is likely to contain.
pub fn address() -> impl Strategy<Value = IpAddr> {
    let four = select(BASES_V4.to_vec()).prop_map(IpAddr::from);
    let six = select(BASES_V6.to_vec()).prop_map(IpAddr::from);
    prop_oneof![four, six]
}

fn cut(base: IpAddr, len: u8) -> IpNet {
    IpNet::new(base, len).unwrap().trunc()
}

fn prefix() -> impl Strategy<Value = IpNet> {
    let four = (select(BASES_V4.to_vec()), 0..=32_u8).prop_map(|(b, len)| cut(b.into(), len));
    let six = (select(BASES_V6.to_vec()), 0..=128_u8).prop_map(|(b, len)| cut(b.into(), len));
    let whole = select(vec!["0.0.0.0/0", "::/0"]).prop_map(|text| text.parse().unwrap());
    prop_oneof![6 => four, 6 => six, 1 => whole]
}

fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![
        3 => prefix().prop_map(Destination::Cidr),
        2 => select(PATTERNS.to_vec()).prop_map(|text| Destination::Name(name_pattern(text))),
    ]
}

fn ports() -> impl Strategy<Value = Vec<Ports>> {
    let some = subsequence(PORTS.to_vec(), 1..=3).prop_map(|chosen| {
        let ports = |(protocol, first, last)| Ports {
            protocol,
            range: first..=last,
        };
        chosen.into_iter().map(ports).collect()
    });
    prop_oneof![2 => Just(Vec::new()), 1 => some]
}

fn action() -> impl Strategy<Value = Action> {
    select(vec![Action::Allow, Action::Deny])
}

fn rules() -> impl Strategy<Value = Vec<EgressRule>> {
    let rule = (action(), destination(), ports());
    let rule = rule.prop_map(|(action, to, ports)| EgressRule { action, to, ports });
    prop::collection::vec(rule, 0..25)
}

/// Rules of many lengths around one address, in any order.
fn deep(v6: bool) -> impl Strategy<Value = Vec<EgressRule>> {
    let (base, lens): (IpAddr, Vec<u8>) = if v6 {
        (BASES_V6[0].into(), (0..=128).collect())
    } else {
        (BASES_V4[1].into(), (0..=32).collect())
    };
    let most = MOST_LENGTHS.min(lens.len());
    subsequence(lens, 1..=most)
        .prop_shuffle()
        .prop_flat_map(move |lens| {
            prop::collection::vec(action(), lens.len()).prop_map(move |actions| {
                let rules = lens.iter().zip(actions).map(|(len, action)| EgressRule {
                    action,
                    to: Destination::Cidr(cut(base, *len)),
                    ports: vec![],
                });
                rules.collect()
            })
        })
}

/// A policy that is not yet tied to a project: its rules, or none where it is invalid.
pub type Draft = Option<Vec<EgressRule>>;

pub fn draft() -> impl Strategy<Value = Draft> {
    prop_oneof![
        10 => rules().prop_map(Some),
        1 => deep(false).prop_map(Some),
        1 => deep(true).prop_map(Some),
        1 => Just(None),
    ]
}

pub fn policy(project: &str, draft: &Draft) -> Arc<EgressPolicy> {
    match draft {
        Some(rules) => EgressPolicy::new(project, rules.clone()),
        None => EgressPolicy::invalid("spec.egress[0].to: has neither".into()),
    }
}

pub fn settings() -> impl Strategy<Value = EgressSettings> {
    let conflicts = select(vec![Conflicts::Drop, Conflicts::Enforce]);
    let trusted = subsequence(vec![0_u8, 1, 2], 0..=3);
    (conflicts, trusted, 1..3_u32).prop_map(|(conflicts, trusted, min_ttl)| EgressSettings {
        conflicts,
        trusted: trusted
            .into_iter()
            .map(|n| IpAddr::from([192, 0, 2, n]))
            .collect(),
        min_ttl,
        ..EgressSettings::default()
    })
}

/// What the node has resolved of one pattern.
pub fn resolved() -> impl Strategy<Value = (NamePattern, BTreeSet<IpAddr>)> {
    let addresses = prop::collection::btree_set(address(), 0..4);
    (select(PATTERNS.to_vec()).prop_map(name_pattern), addresses)
}

/// Policies of each project by name, what is resolved of their names, and the settings.
pub type Egress = (
    Vec<Vec<(&'static str, Draft)>>,
    Vec<(NamePattern, BTreeSet<IpAddr>)>,
    EgressSettings,
);

/// Of so many projects.
pub fn egress(projects: usize) -> impl Strategy<Value = Egress> {
    let names = prop_oneof![
        6 => Just(vec![]),
        8 => Just(vec!["p"]),
        1 => Just(vec!["p", "q"]),
    ];
    let own = names.prop_flat_map(|names| {
        let drafts = prop::collection::vec(draft(), names.len());
        drafts.prop_map(move |drafts| names.iter().copied().zip(drafts).collect())
    });
    (
        prop::collection::vec(own, projects),
        prop::collection::vec(resolved(), 0..8),
        settings(),
    )
}

/// An address that the pods of a project were told for a name.
#[derive(Clone, Debug)]
pub struct Told {
    pub project: Index,
    pub address: IpAddr,
    pub name: DnsName,
    pub over: bool,
}

pub fn told() -> impl Strategy<Value = Told> {
    let name = select(NAMES.to_vec()).prop_map(|text| text.parse().unwrap());
    (
        any::<Index>(),
        address(),
        name,
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(project, address, name, over)| Told {
            project,
            address,
            name,
            over,
        })
}
