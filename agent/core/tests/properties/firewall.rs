//! What the egress firewall must do, told from the model alone: rule by rule, the first that matches wins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_core::model::{
    Action, Conflicts, Destination, DnsName, EgressPolicy, EgressRule, Mode, NamePattern, World,
};

use crate::reference::Packet;

/// The name that the pods of a project were told an address for, and may still use.
pub type Lessons = BTreeMap<(String, IpAddr), DnsName>;

/// What becomes of a packet to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// No rule stops it.
    Free,
    /// The rule with this number, counted from 1.
    Denied(u32),
    /// There is no telling what its project's author wants.
    Closed,
}

pub fn ruling(world: &World, project: &str, packet: &Packet, lessons: &Lessons) -> Ruling {
    let policies: Vec<&EgressPolicy> = match world.egress_policies.get(project) {
        Some(policies) => policies.values().map(AsRef::as_ref).collect(),
        None => vec![],
    };
    if world.egress.conflicts == Conflicts::Drop {
        let mode = world.network.as_ref().unwrap().mode;
        let number = |name: &str| world.projects.get(name).map(|it| it.vnid.number());
        // Restriction one: no policy in a global project. All are, in a flat network.
        if mode == Mode::Subnet || number(project) == Some(0) {
            return Ruling::Free;
        }
        // Restriction two: no policy in a joined project.
        let joined = world
            .projects
            .keys()
            .filter(|it| number(it) == number(project));
        let joined: Vec<&String> = joined.collect();
        if joined.len() > 1
            && joined
                .iter()
                .any(|it| world.egress_policies.contains_key(*it))
        {
            return Ruling::Closed;
        }
    }
    // Restriction three: one policy in a project.
    let rules = match policies[..] {
        [] => return Ruling::Free,
        [
            EgressPolicy {
                rules: Ok(rules), ..
            },
        ] => rules,
        _ => return Ruling::Closed,
    };
    let told = lessons.get(&(project.to_owned(), packet.dst));
    for (index, rule) in rules.iter().enumerate() {
        if matches(world, rules, rule, packet, told) {
            return match rule.action {
                Action::Allow => Ruling::Free,
                Action::Deny => Ruling::Denied(u32::try_from(index + 1).unwrap()),
            };
        }
    }
    Ruling::Free
}

fn matches(
    world: &World,
    rules: &[EgressRule],
    rule: &EgressRule,
    packet: &Packet,
    told: Option<&DnsName>,
) -> bool {
    let port = rule.ports.is_empty()
        || rule.ports.iter().any(|ports| {
            ports.protocol.number() == packet.proto && ports.range.contains(&packet.dst_port)
        });
    port && match &rule.to {
        Destination::Cidr(net) => net.contains(&packet.dst),
        Destination::Name(pattern) => {
            // What the node has resolved counts for the names that stand in this policy.
            let own = rules.iter().filter_map(|rule| match &rule.to {
                Destination::Name(name) => Some(name),
                Destination::Cidr(_) => None,
            });
            let mut resolved = own.filter(|name| {
                let addresses = world.resolved.get(*name);
                addresses.is_some_and(|all| all.contains(&packet.dst))
            });
            told.is_some_and(|name| pattern.covers(name)) || resolved.any(|it| within(it, pattern))
        }
    }
}

/// Whether every name that `inner` stands for is one that `outer` stands for.
fn within(inner: &NamePattern, outer: &NamePattern) -> bool {
    match inner {
        NamePattern::Exact(name) => outer.covers(name),
        NamePattern::Below(name) => {
            inner == outer || matches!(outer, NamePattern::Below(_)) && outer.covers(name)
        }
    }
}
