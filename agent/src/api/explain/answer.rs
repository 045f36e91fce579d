//! One address: the verdict, where the packet goes, and the rule that decided.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use weft_core::compile::egress::name_number;
use weft_core::model::{EgressPolicy, EgressState};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Denial, Party, Tables as _, Verdict};
use weft_ebpf::packet::Packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::class;
use weft_ebpf::rows::egress::{RuleRow, action};

use super::super::names::pod;
use super::super::read::NoAnswer;
use super::super::view::{Answer, KnownAddress, Outcome, Way};
use super::{Case, Unexplained};
use crate::observe::live::Live;

impl Case<'_> {
    /// The verdict for one address.
    pub(super) fn answer(
        &self,
        ip: IpAddr,
        known: Vec<KnownAddress>,
    ) -> Result<Answer, Unexplained> {
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
            ..Packet::default()
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
        let policies = self
            .world
            .egress_policies
            .get(project)
            .into_iter()
            .flatten();
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
        let project = &self.endpoints[0].project;
        let policies = self
            .world
            .egress_policies
            .get(project)
            .into_iter()
            .flatten();
        let names = policies.flat_map(|(_, policy)| policy.names());
        let names: BTreeSet<_> = names.filter(|it| name_number(it) == number).collect();
        names
            .into_iter()
            .flat_map(|name| self.known.addresses(self.world, project, name))
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
