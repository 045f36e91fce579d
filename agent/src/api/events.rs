//! Drop events out of the ring buffer, with names in the place of numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aya::maps::{MapData, RingBuf};
use tokio::sync::broadcast;
use weft_core::compile::project_key;
use weft_core::model::{Action, EgressState, World};
use weft_ebpf::addr::Addr;
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{ProjectKey, VNID_MAX};
use zerocopy::FromBytes;

use super::view::{Drop, Party};
use crate::observe::{live, ring};
use crate::sync::Shared;

/// Events kept for `weft get drops`.
const RECENT: usize = 100;
/// Events a slow monitor may fall behind.
const BEHIND: usize = 1024;
/// Names are looked up anew this often at most: an unknown key may be a project that is gone.
const NAMES_AGE: Duration = Duration::from_secs(1);

/// Where events go: to whoever listens, and the last few are kept.
pub struct Feed {
    sender: broadcast::Sender<Drop>,
    recent: Mutex<VecDeque<Drop>>,
}

impl Feed {
    /// An empty feed.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sender: broadcast::channel(BEHIND).0,
            recent: Mutex::default(),
        })
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Drop> {
        self.sender.subscribe()
    }

    /// The last events, oldest first.
    pub fn recent(&self) -> Vec<Drop> {
        self.recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn publish(&self, event: Drop) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(event.clone());
        if recent.len() > RECENT {
            give_way(&mut recent);
        }
        drop(recent);
        // Nobody listening is the usual case.
        drop(self.sender.send(event));
    }
}

/// Removes the oldest event of the interface and reason that have most: a pod that is denied all the time hides nobody else's
/// drops.
fn give_way(recent: &mut VecDeque<Drop>) {
    let mut counts = HashMap::new();
    for event in recent.iter() {
        *counts.entry(kind(event)).or_insert(0) += 1;
    }
    let Some(most) = counts.values().max().copied() else {
        return;
    };
    let oldest = recent.iter().position(|event| counts[&kind(event)] == most);
    oldest.and_then(|at| recent.remove(at));
}

fn kind(event: &Drop) -> (u32, &str) {
    (event.ifindex, &event.reason)
}

/// Reads the ring until the process ends.
pub fn run(mut events: RingBuf<MapData>, shared: &Shared, feed: &Feed) {
    let mut names = Names::default();
    loop {
        while let Some(item) = events.next() {
            if let Ok(event) = DropEvent::read_from_bytes(&item) {
                feed.publish(names.describe(&event, &shared.world()));
            }
        }
        ring::wait(&events);
    }
}

/// Names of project keys, looked up when one is not known.
#[derive(Default)]
struct Names {
    names: HashMap<ProjectKey, String>,
    made: Option<Instant>,
}

impl Names {
    fn of(&mut self, key: ProjectKey, world: &World) -> Option<String> {
        let old = self.made.is_none_or(|made| made.elapsed() > NAMES_AGE);
        if !self.names.contains_key(&key) && old {
            let local = world.endpoints.values().map(|endpoint| &endpoint.project);
            self.names = world
                .projects
                .keys()
                .chain(local)
                .map(|name| (project_key(name), name.clone()))
                .collect();
            self.made = Some(Instant::now());
        }
        self.names.get(&key).cloned()
    }

    fn describe(&mut self, event: &DropEvent, world: &World) -> Drop {
        let reason = DropReason::from_number(event.reason);
        let mut drop = Drop {
            time: since_1970(event.time),
            reason: reason.map_or_else(|| event.reason.to_string(), |r| r.name().to_owned()),
            text: reason.map_or("", DropReason::text).to_owned(),
            hook: hook::name(event.hook).to_owned(),
            source: self.party(
                world,
                event.src,
                event.src_port,
                event.src_project,
                event.src_vnid,
            ),
            destination: self.party(
                world,
                event.dst,
                event.dst_port,
                event.dst_project,
                event.dst_vnid,
            ),
            protocol: protocol(event.proto),
            bytes: event.len,
            ifindex: event.ifindex,
            policy: None,
            rule: None,
            rule_text: None,
        };
        if matches!(
            reason,
            Some(DropReason::EgressDenied | DropReason::EgressClosed)
        ) && let Some(project) = self.of(event.src_project, world)
        {
            name_policy(world, &project, event.rule, &mut drop);
        }
        drop
    }

    fn party(&mut self, world: &World, addr: Addr, port: u16, key: ProjectKey, vnid: u32) -> Party {
        if addr == Addr::UNSPECIFIED {
            return Party::default();
        }
        let ip = addr.to_ip();
        let endpoint = world
            .endpoints
            .values()
            .find(|endpoint| endpoint.addresses.contains(&ip));
        let vnid = (vnid <= VNID_MAX).then_some(vnid);
        let projects = match (endpoint, key, vnid) {
            (Some(endpoint), ..) => vec![endpoint.project.clone()],
            (None, ProjectKey(0), Some(vnid)) => world
                .projects
                .values()
                .filter(|project| project.vnid.number() == vnid)
                .map(|project| project.name.clone())
                .collect(),
            (None, ProjectKey(0), None) => Vec::new(),
            (None, key, _) => self.of(key, world).into_iter().collect(),
        };
        let node = world.hosts.values().find(|host| {
            host.name != world.node.name && host.subnets.iter().any(|subnet| subnet.contains(&ip))
        });
        Party {
            ip: Some(ip),
            port,
            pod: endpoint.map(|endpoint| format!("{}/{}", endpoint.project, endpoint.pod)),
            projects,
            vnid,
            node: node.map(|host| host.name.clone()),
        }
    }
}

/// Names the policy and the rule, or why the project is closed. The policy may be another one by now than when the packet
/// was dropped: what does not fit the event is left out.
fn name_policy(world: &World, project: &str, rule: u32, drop: &mut Drop) {
    match world.egress_state(project) {
        EgressState::Closed(reason) if rule == 0 => drop.text = format!("{}: {reason}", drop.text),
        EgressState::InForce(policy) if rule > 0 => {
            drop.rule = Some(rule);
            let rules = policy.rules.as_deref().unwrap_or_default();
            let Some(found) = rules.get(rule as usize - 1) else {
                return;
            };
            if found.action == Action::Deny {
                let policies = world.egress_policies.get(project).into_iter().flatten();
                let name = policies.map(|(name, _)| format!("{project}/{name}")).next();
                drop.policy = name;
                drop.rule_text = Some(found.to_string());
            }
        }
        _ => {}
    }
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        58 => "ICMPv6".into(),
        132 => "SCTP".into(),
        other => other.to_string(),
    }
}

/// Nanoseconds since 1970 of a monotonic time.
pub fn since_1970(monotonic: u64) -> u64 {
    let now = u128::from(live::monotonic());
    let wall = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    u64::try_from(wall.saturating_sub(now.saturating_sub(u128::from(monotonic))))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
