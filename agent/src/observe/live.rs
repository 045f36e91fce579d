//! The maps as the packet decisions see them: what the data path would do with a packet, asked without sending one.

use std::cell::{Cell, OnceCell, RefCell};

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use nix::time::{ClockId, clock_gettime};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::Tables;
use weft_ebpf::rows::egress::{
    ANY_PORT, HitKey, LearnedKey, LearnedRow, PORT_BITS, PortKey, RuleKey, RuleRow, SearchKey,
    SearchRow,
};
use weft_ebpf::rows::flow::{FlowKey, FlowRow};
use weft_ebpf::rows::{
    EndpointRow, NodeRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, SubnetRow,
};
use weft_ebpf::tables::map;

use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError};

/// Reads the maps for one question. Changes, notes and counts nothing.
pub struct Live<'a> {
    maps: &'a Maps,
    now: u64,
    searches: Kept<SearchRow>,
    learned: Kept<LearnedRow>,
    judged: Cell<bool>,
    failed: RefCell<Option<TableError>>,
}

/// Rows that were read, for as long as the question lasts: the decisions borrow them.
struct Kept<T>(OnceCell<Box<(T, Self)>>);

impl<T> Kept<T> {
    const fn new() -> Self {
        Self(OnceCell::new())
    }

    fn keep(&self, row: T) -> &T {
        let mut end = self;
        while let Some(next) = end.0.get() {
            end = &next.1;
        }
        &end.0.get_or_init(|| Box::new((row, Self::new()))).0
    }
}

impl<'a> Live<'a> {
    /// The maps as they are now.
    pub fn new(maps: &'a Maps) -> Self {
        Self {
            maps,
            now: monotonic(),
            searches: Kept::new(),
            learned: Kept::new(),
            judged: Cell::new(false),
            failed: RefCell::default(),
        }
    }

    /// What holds for the whole node; zeros until it was written.
    pub fn node(&self) -> NodeRow {
        let row = self.found(map::NODE, self.maps.node.get(&0, 0));
        row.map_or_else(NodeRow::default, |Row(row)| row)
    }

    /// Whether the rules of an egress policy were looked at.
    pub fn judged(&self) -> bool {
        self.judged.get()
    }

    /// The first map that could not be read: what was decided meanwhile is worth nothing then.
    pub fn finish(self) -> Result<(), TableError> {
        match self.failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn found<T>(&self, map: &'static str, result: Result<T, MapError>) -> Option<T> {
        match result {
            Ok(row) => Some(row),
            Err(MapError::KeyNotFound) => None,
            Err(source) => {
                let call = "read";
                let mut failed = self.failed.borrow_mut();
                failed.get_or_insert(TableError::Call { call, map, source });
                None
            }
        }
    }
}

/// Nanoseconds of the clock that the programs read.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

impl Tables for Live<'_> {
    fn vxlan_port(&self) -> u16 {
        u16::try_from(self.node().vxlan_port).unwrap_or_default() // the row was made from a 16-bit port
    }

    fn prefix(&self, addr: &Addr) -> Option<PrefixRow> {
        let row = self.maps.prefixes.get(&Key::new(128, Row(*addr)), 0);
        self.found(map::PREFIXES, row).map(|Row(row)| row)
    }

    fn subnet(&self, network: &Addr) -> Option<SubnetRow> {
        let row = self.maps.subnets.get(&Row(*network), 0);
        self.found(map::SUBNETS, row).map(|Row(row)| row)
    }

    fn peer(&self, addr: &Addr) -> Option<PeerRow> {
        let row = self.maps.peers.get(&Row(*addr), 0);
        self.found(map::PEERS, row).map(|Row(row)| row)
    }

    fn endpoint(&self, addr: &Addr) -> Option<EndpointRow> {
        let row = self.maps.endpoints.get(&Row(*addr), 0);
        self.found(map::ENDPOINTS, row).map(|Row(row)| row)
    }

    fn sender(&self, ifindex: u32) -> Option<ProjectKey> {
        let row = self.maps.senders.get(&Row(ifindex), 0);
        self.found(map::SENDERS, row).map(|Row(row)| row)
    }

    fn project(&self, project: &ProjectKey) -> Option<ProjectRow> {
        let row = self.maps.projects.get(&Row(*project), 0);
        self.found(map::PROJECTS, row).map(|Row(row)| row)
    }

    fn rule(&self, key: &RuleKey) -> Option<RuleRow> {
        let row = self.maps.rules.get(&Row(*key), 0);
        self.found(map::RULES, row).map(|Row(row)| row)
    }

    fn resolved(&self, key: &RuleKey) -> Option<RuleRow> {
        let row = self.maps.resolved.get(&Row(*key), 0);
        self.found(map::RESOLVED, row).map(|Row(row)| row)
    }

    fn search(&self, key: &SearchKey) -> Option<&SearchRow> {
        self.judged.set(true);
        let row = self.maps.searches.get(&Row(*key), 0);
        let Row(row) = self.found(map::SEARCHES, row)?;
        Some(self.searches.keep(row))
    }

    fn port_class(&self, policy: u64, proto: u8, port: u16) -> u32 {
        let key = PortKey {
            policy: policy.to_ne_bytes(),
            proto,
            port: port.to_be_bytes(),
            reserved: 0,
        };
        let class = self.maps.ports.get(&Key::new(PORT_BITS, Row(key)), 0);
        self.found(map::PORTS, class)
            .map_or(ANY_PORT, |Row(class)| class)
    }

    fn learned(&self, key: &LearnedKey, _: u64) -> Option<&LearnedRow> {
        let row = self.maps.learned.get(&Row(*key), 0);
        let Row(row) = self.found(map::LEARNED, row)?;
        Some(self.learned.keep(row))
    }

    fn flow(&self, key: &FlowKey) -> Option<FlowRow> {
        let row = self.maps.flows.get(&Row(*key), 0);
        self.found(map::FLOWS, row).map(|Row(row)| row)
    }

    fn note_flow(&self, _: &FlowKey, _: FlowRow) {}

    fn forget_flow(&self, _: &FlowKey) {}

    fn count_hit(&self, _: &HitKey, _: u32, _: u64) {}

    fn now(&self) -> u64 {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn what_was_read_first_stays_while_more_is_read() {
        let kept = Kept::new();
        let first = kept.keep(1);
        let second = kept.keep(2);
        assert_eq!((*first, *second, *kept.keep(3)), (1, 2, 3));
    }
}
