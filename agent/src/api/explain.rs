//! What the data path would do with a pod's packet: its own decision code over its own maps, as they are now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weft_core::compile::egress::name_number;
use weft_core::compile::project_key;
use weft_core::model::{DnsName, EgressPolicy, EgressState, Endpoint, NamePattern, World};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Denial, Party, Tables as _, Verdict};
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::egress::{LearnedKey, RuleRow, action};
use weft_ebpf::rows::{VNID_MAX, class};

use super::egress::{Learned, pod};
use super::read::NoAnswer;
use super::target::{InvalidTarget, Load, Place, Target};
use super::view::{Answer, Explanation, KnownAddress, Outcome, Way};
use crate::apply::maps::Maps;
use crate::observe::egress;
use crate::observe::live::Live;
use crate::sync::Handle;

/// What is asked: the query of the route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Sending pod: `NAMESPACE/NAME`, or one of its addresses.
    pub from: String,
    /// A [`Target`].
    pub to: String,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unexplained {
    /// The destination cannot be read.
    #[error("to: {0}")]
    Target(#[from] InvalidTarget),
    /// Neither a pod's name nor an address.
    #[error("from: {0:?} is neither NAMESPACE/NAME nor an address of a pod")]
    From(String),
    /// The pod is not on this node.
    #[error(
        "no pod {pod} is attached to this node, {node}: ask the agent of the pod's own node (from=ADDRESS tells whose a pod \
         address is)"
    )]
    NoPod {
        /// As it was asked for.
        pod: String,
        /// This node.
        node: String,
    },
    /// The address is in another node's subnet.
    #[error("{address} is a pod address of node {node} ({ip}): ask that node's agent")]
    Elsewhere {
        /// As it was asked for.
        address: IpAddr,
        /// The node that holds the subnet.
        node: String,
        /// Its underlay address.
        ip: IpAddr,
    },
    /// The address is nobody's.
    #[error(
        "no pod of this node, {node}, has the address {address}, and no other node's subnet contains it"
    )]
    NoAddress {
        /// As it was asked for.
        address: IpAddr,
        /// This node.
        node: String,
    },
    /// The maps cannot be read.
    #[error(transparent)]
    Silent(#[from] NoAnswer),
}

/// Explains on the sync loop's thread: no change comes between two lookups.
pub fn explain(handle: &Handle, question: &Question) -> Result<Explanation, Unexplained> {
    let target: Target = question.to.parse()?;
    let from = question.from.clone();
    let shared = Arc::clone(handle.shared());
    let answer = handle.read(move |maps| {
        let told = match target.place {
            Place::Address(_) => BTreeMap::new(),
            Place::Name(_) => egress::learned(maps).map_err(NoAnswer::Map)?,
        };
        let world = shared.world();
        let endpoints = sender(&world, &from)?;
        let case = Case {
            world: &world,
            maps,
            endpoints,
            load: target.load,
        };
        case.explain(&target, &told)
    });
    answer.unwrap_or(Err(NoAnswer::Loop.into()))
}

/// The pod's attachments on this node.
fn sender<'a>(world: &'a World, from: &str) -> Result<Vec<&'a Endpoint>, Unexplained> {
    let node = || world.node.name.clone();
    let all = world.endpoints.values();
    if let Some((namespace, name)) = from.split_once('/') {
        let found: Vec<_> = all
            .filter(|it| it.project == namespace && it.pod == name)
            .collect();
        if found.is_empty() {
            let pod = from.to_owned();
            return Err(Unexplained::NoPod { pod, node: node() });
        }
        return Ok(found);
    }
    let Ok(address) = from.parse::<IpAddr>() else {
        return Err(Unexplained::From(from.into()));
    };
    if let Some(found) = all.into_iter().find(|it| it.addresses.contains(&address)) {
        return Ok(vec![found]);
    }
    let mut others = world.hosts.values().filter(|it| it.name != world.node.name);
    Err(match others.find(|host| holds(host, address)) {
        Some(host) => Unexplained::Elsewhere {
            address,
            node: host.name.clone(),
            ip: host.ip,
        },
        None => Unexplained::NoAddress {
            address,
            node: node(),
        },
    })
}

fn holds(host: &weft_core::model::HostSubnet, address: IpAddr) -> bool {
    host.subnets.iter().any(|subnet| subnet.contains(&address))
}

/// One question, with all that its answer depends on.
struct Case<'a> {
    world: &'a World,
    maps: &'a Maps,
    /// Attachments of the sending pod, at least one.
    endpoints: Vec<&'a Endpoint>,
    load: Load,
}

impl Case<'_> {
    fn explain(
        &self,
        target: &Target,
        told: &BTreeMap<LearnedKey, weft_ebpf::rows::egress::LearnedRow>,
    ) -> Result<Explanation, Unexplained> {
        let Endpoint { project, pod, .. } = self.endpoints[0];
        let mut note = String::new();
        let answers = match &target.place {
            Place::Address(ip) => vec![self.answer(*ip, Vec::new())?],
            Place::Name(name) => {
                let known = self.known(name, told);
                if known.is_empty() {
                    note = self.unknown(name);
                }
                let mut by_ip = BTreeMap::<IpAddr, Vec<KnownAddress>>::new();
                for one in known {
                    by_ip.entry(one.ip).or_default().push(one);
                }
                let answers = by_ip.into_iter().map(|(ip, known)| self.answer(ip, known));
                answers.collect::<Result<_, _>>()?
            }
        };
        let live = Live::new(self.maps);
        let row = live.project(&project_key(project));
        live.finish().map_err(NoAnswer::Map)?;
        Ok(Explanation {
            pod: format!("{project}/{pod}"),
            project: project.clone(),
            vnid: row.map(|row| row.vnid).filter(|vnid| *vnid <= VNID_MAX),
            to: target.to_string(),
            outcome: together(&answers),
            note,
            answers,
        })
    }

    /// Names of policies that cover a name: those of the sender's project, and those that the agent resolves.
    fn patterns(&self, name: &DnsName) -> BTreeSet<&NamePattern> {
        let own = self.world.policies.get(&self.endpoints[0].project);
        let own = own.into_iter().flatten().flat_map(|(_, it)| it.names());
        let all = own.chain(self.world.resolved.keys());
        all.filter(|pattern| pattern.covers(name)).collect()
    }

    fn known(
        &self,
        name: &DnsName,
        told: &BTreeMap<LearnedKey, weft_ebpf::rows::egress::LearnedRow>,
    ) -> Vec<KnownAddress> {
        let now = crate::observe::live::monotonic();
        let learned = Learned::new(told, now);
        let project = &self.endpoints[0].project;
        let patterns = self.patterns(name).into_iter();
        patterns
            .flat_map(|pattern| learned.known(self.world, project, pattern, now))
            .collect()
    }

    /// What there is to say of a name without an address.
    fn unknown(&self, name: &DnsName) -> String {
        let project = &self.endpoints[0].project;
        if self.patterns(name).is_empty() {
            format!(
                "no policy of project {project} names {name}, so the node does not watch its addresses: ask for the address"
            )
        } else {
            format!(
                "no address of {name} is known: neither has the agent resolved it, nor was a pod of project {project} told \
                 one that is still valid"
            )
        }
    }

    fn answer(&self, ip: IpAddr, known: Vec<KnownAddress>) -> Result<Answer, Unexplained> {
        let mut answer = Answer {
            ip,
            outcome: Outcome::Denied,
            way: None,
            reason: None,
            text: String::new(),
            policy: None,
            rule: None,
            rule_text: None,
            known,
        };
        let sources = self.endpoints.iter().find_map(|endpoint| {
            let mut addresses = endpoint.addresses.iter();
            let source = addresses.find(|source| source.is_ipv6() == ip.is_ipv6())?;
            Some((*endpoint, *source))
        });
        let Some((endpoint, source)) = sources else {
            let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
            answer.text = format!("the pod has no {family} address, so it cannot send there");
            return Ok(answer);
        };
        // The first packet of a connection, from a port that no open connection has.
        let packet = Packet {
            src_mac: endpoint.mac,
            src: Addr::from(source),
            dst: Addr::from(ip),
            src_port: 0,
            dst_port: self.load.port(),
            proto: self.load.proto(ip),
            opens: 1,
            len: 0,
        };
        let live = Live::new(self.maps);
        let verdict = verdict(&live, &packet, endpoint.host_ifindex);
        let judgement = live
            .endpoint(&packet.src)
            .filter(|_| live.judged())
            .and_then(|row| {
                let party = Party::pod(&live, &row);
                let judgement = decide::judge(&live, &party, &packet, live.now())?;
                Some((party, judgement.rule))
            });
        self.describe(&live, &packet, &verdict, &mut answer);
        if let Some((party, rule)) = judgement {
            self.name_rule(party.policy, &rule, &mut answer);
        }
        live.finish().map_err(NoAnswer::Map)?;
        Ok(answer)
    }

    fn describe(&self, live: &Live<'_>, packet: &Packet, verdict: &Verdict, answer: &mut Answer) {
        let world = self.world;
        let (way, text) = match verdict {
            Verdict::Drop(denial) => return self.denied(denial, answer),
            Verdict::Deliver(row) => {
                let pod = pod(world, row.ifindex).unwrap_or_default();
                let text = format!("delivered to pod {pod} on this node");
                (Way::Pod { pod }, text)
            }
            Verdict::Tunnel { node, vnid } => {
                let ip = node.to_ip();
                let mut hosts = world.hosts.values();
                let host = hosts.find(|host| host.ip == ip);
                let node = host.map_or_else(|| ip.to_string(), |host| host.name.clone());
                let who = match vnid {
                    0 => "whatever project the pod there is of".to_owned(),
                    _ => format!("if the pod there is in network {vnid} or global"),
                };
                let text = format!("through the overlay to node {node}, which admits it {who}");
                (Way::Overlay { node, vnid: *vnid }, text)
            }
            Verdict::Pass => {
                let prefix = live.prefix(&packet.dst);
                match prefix.map(|row| row.class) {
                    Some(class) if class::is_own(class) => (Way::Node, "to this node".into()),
                    Some(_) => (
                        Way::Service,
                        "to a service: its endpoint is judged once the host has chosen it".into(),
                    ),
                    None => {
                        let ip = packet.dst.to_ip();
                        let mut hosts = world.hosts.values();
                        let node = hosts.find(|host| host.ip == ip);
                        let node = node.map(|host| host.name.clone());
                        let whose = node.as_ref().map(|node| format!(", to node {node} itself"));
                        let text = format!("out of the cluster{}", whose.unwrap_or_default());
                        (Way::External { node }, text)
                    }
                }
            }
        };
        answer.outcome = Outcome::Allowed;
        answer.way = Some(way);
        answer.text = text;
    }

    fn denied(&self, denial: &Denial, answer: &mut Answer) {
        answer.reason = Some(denial.reason.name().into());
        answer.text = denial.reason.text().into();
        let project = &self.endpoints[0].project;
        if denial.reason == DropReason::EgressClosed
            && let EgressState::Closed(reason) = self.world.egress_state(project)
        {
            answer.text = format!("{}: {reason}", answer.text);
        }
    }

    /// Names the policy and the rule that was found.
    fn name_rule(&self, number: u64, rule: &RuleRow, answer: &mut Answer) {
        let project = &self.endpoints[0].project;
        let policies = self.world.policies.get(project).into_iter().flatten();
        let mut policies = policies.filter(|(_, policy)| policy.number() == number);
        let found: Option<(&String, &Arc<EgressPolicy>)> = policies.next();
        answer.policy = found.map(|(name, _)| format!("{project}/{name}"));
        if rule.action == action::NONE {
            return;
        }
        answer.rule = Some(rule.rank.saturating_add(1));
        let rules = found.and_then(|(_, policy)| policy.rules.as_deref().ok());
        let text = rules.and_then(|rules| rules.get(rule.rank as usize));
        answer.rule_text = text.map(ToString::to_string);
        if answer.outcome == Outcome::Allowed && rule.action != action::ALLOW {
            answer.text.push_str(
                ", as part of an exchange that is open already: the rule denies new ones",
            );
        }
        if rule.name != 0 && answer.known.is_empty() {
            answer.known = self.names(rule.name, answer.ip);
        }
    }

    /// How a rule by name came to concern an address that was asked for.
    fn names(&self, number: u64, ip: IpAddr) -> Vec<KnownAddress> {
        let endpoint = self.endpoints[0];
        let key = LearnedKey {
            project: project_key(&endpoint.project),
            addr: Addr::from(ip),
        };
        let live = Live::new(self.maps);
        let row = live.learned(&key, live.now()).copied();
        let told = row.map(|row| (key, row)).into_iter().collect();
        let learned = Learned::new(&told, live.now());
        let policies = self.world.policies.get(&endpoint.project);
        let names = policies
            .into_iter()
            .flatten()
            .flat_map(|(_, it)| it.names());
        let names: BTreeSet<_> = names.filter(|it| name_number(it) == number).collect();
        names
            .into_iter()
            .flat_map(|name| learned.known(self.world, &endpoint.project, name, live.now()))
            .filter(|known| known.ip == ip)
            .collect()
    }
}

/// As the program decides, with what it checks around the decision.
fn verdict(live: &Live<'_>, packet: &Packet, ifindex: u32) -> Verdict {
    if packet.dst.is_link_local_multicast_v6() {
        return Verdict::Drop(DropReason::LinkLocal.into());
    }
    match decide::from_pod(live, packet, ifindex) {
        Verdict::Tunnel { .. } if live.node().overlay_ifindex == 0 => {
            Verdict::Drop(DropReason::NoOverlay.into())
        }
        verdict => verdict,
    }
}

fn together(answers: &[Answer]) -> Outcome {
    let allowed = answers
        .iter()
        .filter(|it| it.outcome == Outcome::Allowed)
        .count();
    match (allowed, answers.len()) {
        (_, 0) => Outcome::Unknown,
        (0, _) => Outcome::Denied,
        (some, all) if some == all => Outcome::Allowed,
        _ => Outcome::Mixed,
    }
}
