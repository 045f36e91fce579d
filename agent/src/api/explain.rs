//! What the data path would do with a pod's packet: its own decision code over its own maps, as they are now.

mod answer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weft_core::compile::project_key;
use weft_core::host::OVERLAY;
use weft_core::model::{DnsName, Endpoint, HostSubnet, NamePattern, World};
use weft_ebpf::decide::Tables as _;
use weft_ebpf::rows::VNID_MAX;

use super::names::Known;
use super::read::NoAnswer;
use super::target::{InvalidTarget, Load, Place, Target};
use super::view::{Answer, Explanation, KnownAddress, Outcome, Way};
use crate::bpf::maps::Maps;
use crate::observe::egress;
use crate::observe::live::Live;
use crate::sync::{Handle, Standings};

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
    let resolutions = handle.names().ok_or(NoAnswer::Loop)?;
    let from = question.from.clone();
    let shared = Arc::clone(handle.shared());
    let answer = handle.read(move |maps| {
        let named = shared.world().names().next().is_some();
        let told = if named {
            egress::learned(maps).map_err(NoAnswer::Map)?
        } else {
            BTreeMap::new()
        };
        let world = shared.world();
        let endpoints = sender(&world, &from)?;
        let case = Case {
            world: &world,
            maps,
            endpoints,
            load: target.load,
            known: Known::new(resolutions, &told),
            standings: shared.standings(),
        };
        case.explain(&target)
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

fn holds(host: &HostSubnet, address: IpAddr) -> bool {
    host.subnets.iter().any(|subnet| subnet.contains(&address))
}

/// One question, with all that its answer depends on.
struct Case<'a> {
    world: &'a World,
    maps: &'a Maps,
    /// Attachments of the sending pod, at least one.
    endpoints: Vec<&'a Endpoint>,
    load: Load,
    /// Addresses of names.
    known: Known,
    /// What stands before our programs.
    standings: Standings,
}

impl Case<'_> {
    fn explain(&self, target: &Target) -> Result<Explanation, Unexplained> {
        let Endpoint { project, pod, .. } = self.endpoints[0];
        let mut notes = Vec::new();
        let answers = match &target.place {
            Place::Address(ip) => vec![self.answer(*ip, Vec::new())?],
            Place::Name(name) => {
                let known = self.known(name);
                if known.is_empty() {
                    notes.push(self.unknown(name));
                }
                let mut by_ip = BTreeMap::<IpAddr, Vec<KnownAddress>>::new();
                for one in known {
                    by_ip.entry(one.ip).or_default().push(one);
                }
                let answers = by_ip.into_iter().map(|(ip, known)| self.answer(ip, known));
                answers.collect::<Result<_, _>>()?
            }
        };
        notes.extend(self.foreign(&answers));
        let live = Live::new(self.maps);
        let row = live.project(&project_key(project));
        live.finish().map_err(NoAnswer::Map)?;
        Ok(Explanation {
            pod: format!("{project}/{pod}"),
            project: project.clone(),
            vnid: row.map(|row| row.vnid).filter(|vnid| *vnid <= VNID_MAX),
            to: target.to_string(),
            outcome: together(&answers),
            note: notes.join("; "),
            answers,
        })
    }

    /// What may take the packet before our programs judge it: on the sender's interfaces, the receiver's and the overlay device.
    fn foreign(&self, answers: &[Answer]) -> Vec<String> {
        let reached = |endpoint: &&Endpoint| {
            let name = format!("{}/{}", endpoint.project, endpoint.pod);
            let is = |way: &Way| matches!(way, Way::Pod { pod } if *pod == name);
            answers.iter().filter_map(|it| it.way.as_ref()).any(is)
        };
        let receivers = self.world.endpoints.values().filter(reached);
        let on_the_way = self.endpoints.iter().copied().chain(receivers);
        let interfaces = on_the_way.map(|endpoint| endpoint.host_ifname.as_str());
        let interfaces: BTreeSet<&str> = interfaces.chain([OVERLAY]).collect();
        let found = interfaces
            .into_iter()
            .filter_map(|it| self.standings.get(it));
        let found = found.flat_map(|it| &it.foreign);
        found
            .map(|it| format!("this may not be what happens: {it}"))
            .collect()
    }

    /// Names of policies that cover a name: those of the sender's project, and those that the agent resolves.
    fn patterns(&self, name: &DnsName) -> BTreeSet<&NamePattern> {
        let own = self.world.egress_policies.get(&self.endpoints[0].project);
        let own = own.into_iter().flatten().flat_map(|(_, it)| it.names());
        let all = own.chain(self.world.resolved.keys());
        all.filter(|pattern| pattern.covers(name)).collect()
    }

    fn known(&self, name: &DnsName) -> Vec<KnownAddress> {
        let project = &self.endpoints[0].project;
        let patterns = self.patterns(name).into_iter();
        patterns
            .flat_map(|pattern| self.known.addresses(self.world, project, pattern))
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
            let watched = self.known.state(&NamePattern::Exact(name.clone()));
            let error = watched.map(|it| it.error).filter(|it| !it.is_empty());
            let error = error.map_or(String::new(), |error| format!(" ({error})"));
            format!(
                "no address of {name} is known: neither has the agent resolved it{error}, nor was a pod of project \
                 {project} told one that is still valid"
            )
        }
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
