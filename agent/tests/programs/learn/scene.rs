//! The rig with names that project `a` has rules for, and what its pod asks and is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData, RingBuf};
use hickory_proto::op::Message;
use nix::time::{ClockId, clock_gettime};
use weft_agent::bpf::Row;
use weft_agent::bpf::maps::take_name_events;
use weft_agent::observe;
use weft_core::compile::egress::{EgressPolicyTable, name_key};
use weft_core::compile::project_key;
use weft_core::diff::{SetWrite, Write};
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::{LearningRow, NameEvent, NameRow};
use weft_ebpf::rows::egress::{
    ANY_PORT, LearnedKey, LearnedRow, RuleKey, RuleRow, action, project_flag,
};
use weft_ebpf::rows::{NodeRow, ProjectKey, ProjectRow};
use zerocopy::FromBytes as _;

use super::messages;
use crate::frames::{Frame, TCP, UDP, frame};
use crate::rig::{Rig, interface, with_rig};

pub const POD: &str = "10.128.2.5";
pub const POD6: &str = "fd01:0:0:2::5";
/// Name servers: a service, the same over IPv6, a pod of a joined project on this node.
pub const SERVICE: &str = "172.30.0.10";
pub const SERVICE6: &str = "fd98::a";
pub const LOCAL: &str = "10.128.2.7";
/// A name server whose answers do not count.
pub const UNTRUSTED: &str = "172.30.0.99";
pub const PORT: u16 = 41_000;
pub const ID: u16 = 0x1234;

/// Names of the policy, and their numbers.
pub const API: (&str, u64) = ("api.example.com", 101);
pub const EXAMPLE: (&str, u64) = ("*.example.com", 102);
pub const WWW: (&str, u64) = ("www.example.org", 103);
pub const CDN: (&str, u64) = ("cdn.example.net", 104);
/// A name that only another policy has.
pub const OTHER: (&str, u64) = ("only.other.test", 105);
const POLICY: u64 = 77;

/// Seconds
pub const TTL_MIN: u32 = 10;

pub struct Scene<'a> {
    pub rig: &'a mut Rig,
    events: RingBuf<MapData>,
}

pub fn with_scene(test: impl FnOnce(&mut Scene<'_>) + Send) {
    with_rig(|rig| {
        let events = take_name_events(&mut rig.object.ebpf).unwrap();
        let mut scene = Scene { rig, events };
        scene.set_up();
        test(&mut scene);
    });
}

impl Scene<'_> {
    /// The rows of the names, over those of the rig.
    pub fn set_up(&mut self) {
        let names = [API, EXAMPLE, WWW, CDN];
        let rules = names.into_iter().zip(0..).map(|((_, name), rank)| {
            let row = RuleRow {
                name,
                rank,
                action: action::ALLOW,
            };
            (RuleKey::name(POLICY, ANY_PORT, name), row)
        });
        let table = EgressPolicyTable {
            rules: rules.collect(),
            ..EgressPolicyTable::default()
        };
        self.rig.write(&[Write::EgressPolicy(SetWrite {
            number: POLICY,
            new: Some(Arc::new(table)),
            old: None,
        })]);
        self.watch_too("a");
        for (name, number) in names.into_iter().chain([OTHER]) {
            let (name, below) = match name.strip_prefix("*.") {
                Some(parent) => (parent, true),
                None => (name, false),
            };
            let row = NameRow {
                exact: if below { 0 } else { number },
                below: if below { number } else { 0 },
            };
            let key = name_key(&name.parse().unwrap());
            self.rig.write(&[Write::Name(Box::new(key), Some(row))]);
        }
        for server in [SERVICE, SERVICE6, LOCAL, "10.128.4.5"] {
            let server = messages::ip(server).into();
            self.rig.write(&[Write::Trusted(server, Some(1))]);
        }
        self.set_node(1000, 0);
    }

    /// Another project has the policy.
    pub fn watch_too(&mut self, project: &str) {
        let row = ProjectRow {
            policy: POLICY,
            vnid: 10,
            flags: project_flag::NAMES,
        };
        self.rig
            .write(&[Write::Project(project_key(project), Some(row))]);
    }

    /// Most addresses, and grace in seconds.
    pub fn set_node(&mut self, learned_limit: u32, dns_grace: u32) {
        let node = observe::maps::tables(&self.rig.maps).unwrap().node;
        self.rig.write(&[Write::Node(NodeRow {
            dns_min_ttl: TTL_MIN,
            dns_grace,
            learned_limit,
            ..node
        })]);
    }

    /// The pod asks over UDP.
    pub fn ask(&self, server: &str, id: u16, of: &str) {
        let message = messages::query(id, of);
        self.send(&from_pod(server, UDP, message.to_vec().unwrap()));
    }

    /// The pod sends; the packet goes on.
    #[track_caller]
    pub fn send(&self, frame: &Frame) {
        let (code, _) = self.rig.run("from_pod", interface("a"), &frame.bytes());
        assert_ne!(code, 2, "a query is not dropped");
    }

    /// The pod is answered over UDP through the host stack.
    pub fn reply(&self, server: &str, message: &Message) {
        self.deliver(&to_pod(server, UDP, message.to_vec().unwrap()));
    }

    /// A packet reaches the pod through the host stack.
    #[track_caller]
    pub fn deliver(&self, frame: &Frame) {
        let (code, _) = self.rig.run("to_pod", interface("a"), &frame.bytes());
        assert_eq!(code, -1, "an answer goes on, whatever is learned from it");
    }

    /// A question and its answer.
    pub fn exchange(&self, of: &str, addresses: &[IpAddr]) {
        self.ask(SERVICE, ID, of);
        self.reply(SERVICE, &messages::answer(ID, of, addresses));
    }

    pub fn row(&self, address: &str) -> Option<LearnedRow> {
        self.rows().remove(&key(messages::ip(address)))
    }

    pub fn rows(&self) -> std::collections::BTreeMap<LearnedKey, LearnedRow> {
        observe::egress::learned(&self.rig.maps).unwrap()
    }

    /// Numbers of the names that an address has, sorted.
    pub fn names_of(&self, address: &str) -> Vec<u64> {
        let names = self.row(address).map(|row| row.names);
        let numbers = names.into_iter().flatten().map(|it| it.name);
        let mut numbers: Vec<u64> = numbers.filter(|name| *name != 0).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn counters(&self) -> LearningRow {
        let rows = observe::egress::learning(&self.rig.maps).unwrap();
        rows.get(&project()).copied().unwrap_or_default()
    }

    /// Why, and for which name, the agent was asked since the last call.
    pub fn asked(&mut self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        while let Some(item) = self.events.next() {
            let event = NameEvent::read_from_bytes(&item).expect("an event has its own size");
            assert_eq!(event.project, project());
            assert_eq!(event.ifindex, interface("a"));
            assert!(event.time > 0 && event.time <= now(), "monotonic clock");
            found.push((event.why, text(&event.name.0)));
        }
        found
    }

    /// A map of the data path, by its pin.
    pub fn map<K, V>(&self, name: &str) -> HashMap<MapData, Row<K>, Row<V>>
    where
        Row<K>: aya::Pod,
        Row<V>: aya::Pod,
    {
        let data = MapData::from_pin(self.rig.pins.map(name)).unwrap();
        HashMap::try_from(Map::HashMap(data)).unwrap()
    }
}

pub fn from_pod(server: &str, proto: u8, payload: Vec<u8>) -> Frame {
    let pod = if server.contains(':') { POD6 } else { POD };
    Frame {
        proto,
        src_port: PORT,
        dst_port: 53,
        payload,
        ..frame(pod, server)
    }
}

pub fn to_pod(server: &str, proto: u8, payload: Vec<u8>) -> Frame {
    let pod = if server.contains(':') { POD6 } else { POD };
    Frame {
        proto,
        src_port: 53,
        dst_port: PORT,
        payload,
        ..frame(server, pod)
    }
}

pub fn over_tcp(message: &Message) -> (u8, Vec<u8>) {
    (TCP, messages::framed(message))
}

pub fn project() -> ProjectKey {
    project_key("a")
}

pub fn key(address: IpAddr) -> LearnedKey {
    LearnedKey {
        project: project(),
        addr: Addr::from(address),
    }
}

/// Nanoseconds of the monotonic clock.
pub fn now() -> u64 {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
    u64::try_from(now.as_nanos()).unwrap()
}

pub fn seconds(nanoseconds: u64) -> u64 {
    Duration::from_nanos(nanoseconds).as_secs()
}

fn text(name: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = name;
    while let [len, more @ ..] = rest
        && *len > 0
    {
        let (label, behind) = more.split_at(usize::from(*len));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = behind;
    }
    labels.join(".")
}
