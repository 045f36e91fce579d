//! Compiled tables, and beside them what only the kernel has: learned names, connections, counters and a clock.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use weft_core::compile::egress::name_number;
use weft_core::compile::{Tables, project_key};
use weft_core::model::NamePattern;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide;
use weft_ebpf::rows::egress::{
    HitKey, HitRow, LearnedKey, LearnedName, LearnedRow, RuleKey, RuleRow, SearchKey, SearchRow,
};
use weft_ebpf::rows::flow::{FlowKey, FlowRow};
use weft_ebpf::rows::{EndpointRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, SubnetRow};

#[derive(Default)]
pub struct Live {
    pub tables: Tables,
    pub learned: BTreeMap<LearnedKey, LearnedRow>,
    pub flows: RefCell<HashMap<FlowKey, FlowRow>>,
    pub hits: RefCell<BTreeMap<HitKey, HitRow>>,
    pub now: Cell<u64>,
}

impl Live {
    pub fn new(tables: Tables) -> Self {
        let live = Self {
            tables,
            ..Self::default()
        };
        live.now.set(1_000_000_000_000); // a machine that has been up for a while
        live
    }

    /// A pod of the project was told the address for names that these patterns cover.
    pub fn tell(&mut self, project: &str, address: IpAddr, patterns: &[NamePattern], expires: u64) {
        let key = LearnedKey {
            project: project_key(project),
            addr: Addr::from(address),
        };
        let mut row = LearnedRow::default();
        assert!(patterns.len() <= row.names.len(), "one row's names");
        for (slot, pattern) in row.names.iter_mut().zip(patterns) {
            *slot = LearnedName {
                name: name_number(pattern),
                expires,
                ifindex: 0,
                ttl: 60,
            };
        }
        self.learned.insert(key, row);
    }
}

impl decide::Tables for Live {
    fn vxlan_port(&self) -> u16 {
        decide::Tables::vxlan_port(&self.tables)
    }
    fn prefix(&self, addr: &Addr) -> Option<PrefixRow> {
        decide::Tables::prefix(&self.tables, addr)
    }
    fn subnet(&self, network: &Addr) -> Option<SubnetRow> {
        decide::Tables::subnet(&self.tables, network)
    }
    fn peer(&self, addr: &Addr) -> Option<PeerRow> {
        decide::Tables::peer(&self.tables, addr)
    }
    fn endpoint(&self, addr: &Addr) -> Option<EndpointRow> {
        decide::Tables::endpoint(&self.tables, addr)
    }
    fn sender(&self, ifindex: u32) -> Option<ProjectKey> {
        self.tables.sender(ifindex)
    }

    fn project(&self, project: &ProjectKey) -> Option<ProjectRow> {
        decide::Tables::project(&self.tables, project)
    }
    fn rule(&self, key: &RuleKey) -> Option<RuleRow> {
        decide::Tables::rule(&self.tables, key)
    }
    fn resolved(&self, key: &RuleKey) -> Option<RuleRow> {
        decide::Tables::resolved(&self.tables, key)
    }
    fn search(&self, key: &SearchKey) -> Option<&SearchRow> {
        decide::Tables::search(&self.tables, key)
    }
    fn port_class(&self, policy: u64, proto: u8, port: u16) -> u32 {
        decide::Tables::port_class(&self.tables, policy, proto, port)
    }

    fn learned(&self, key: &LearnedKey, _: u64) -> Option<&LearnedRow> {
        self.learned.get(key)
    }

    fn flow(&self, key: &FlowKey) -> Option<FlowRow> {
        self.flows.borrow().get(key).copied()
    }

    fn note_flow(&self, key: &FlowKey, row: FlowRow) {
        self.flows.borrow_mut().insert(*key, row);
    }

    fn forget_flow(&self, key: &FlowKey) {
        self.flows.borrow_mut().remove(key);
    }

    fn count_hit(&self, key: &HitKey, bytes: u32, now: u64) {
        let mut hits = self.hits.borrow_mut();
        let row = hits.entry(*key).or_default();
        row.packets += 1;
        row.bytes += u64::from(bytes);
        row.last = now;
    }

    fn now(&self) -> u64 {
        self.now.get()
    }
}
