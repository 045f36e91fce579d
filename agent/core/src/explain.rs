//! The data path's own decision code over compiled tables.

use weft_ebpf::addr::Addr;
use weft_ebpf::decide;
use weft_ebpf::rows::egress::{
    ANY_PORT, HitKey, LearnedKey, LearnedRow, PORT_BITS, PortKey, RuleKey, RuleRow, SearchKey,
    SearchRow,
};
use weft_ebpf::rows::flow::{FlowKey, FlowRow};
use weft_ebpf::rows::{EndpointRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, SubnetRow};

use crate::compile::Tables;

impl decide::Tables for Tables {
    fn vxlan_port(&self) -> u16 {
        u16::try_from(self.node.vxlan_port).unwrap_or_default() // the row was made from a 16-bit port
    }

    fn prefix(&self, addr: &Addr) -> Option<PrefixRow> {
        self.prefixes
            .iter()
            .filter(|(key, _)| addr.masked(key.prefix_len) == key.addr)
            .max_by_key(|(key, _)| key.prefix_len)
            .map(|(_, row)| *row)
    }

    fn subnet(&self, network: &Addr) -> Option<SubnetRow> {
        self.subnets.get(network).copied()
    }

    fn peer(&self, addr: &Addr) -> Option<PeerRow> {
        self.peers.get(addr).copied()
    }

    fn endpoint(&self, addr: &Addr) -> Option<EndpointRow> {
        self.endpoints.get(addr).copied()
    }

    fn sender(&self, ifindex: u32) -> Option<ProjectKey> {
        self.senders.get(&ifindex).copied()
    }

    fn project(&self, project: &ProjectKey) -> Option<ProjectRow> {
        self.projects.get(project).copied()
    }

    fn rule(&self, key: &RuleKey) -> Option<RuleRow> {
        self.egress_policies
            .get(&key.policy)?
            .rules
            .get(key)
            .copied()
    }

    fn resolved(&self, key: &RuleKey) -> Option<RuleRow> {
        self.resolved.get(key).copied()
    }

    fn search(&self, key: &SearchKey) -> Option<&SearchRow> {
        self.egress_policies.get(&key.policy)?.searches.get(key)
    }

    fn port_class(&self, policy: u64, proto: u8, port: u16) -> u32 {
        let Some(table) = self.egress_policies.get(&policy) else {
            return ANY_PORT;
        };
        let class = |bits: u32| {
            let port = if bits == 0 {
                0
            } else {
                port & (u16::MAX << (16 - bits))
            };
            let key = PortKey {
                policy: policy.to_ne_bytes(),
                proto,
                port: port.to_be_bytes(),
                reserved: 0,
            };
            table.ports.get(&(PORT_BITS - 16 + bits, key)).copied()
        };
        (0..=16).rev().find_map(class).unwrap_or(ANY_PORT)
    }

    /// What pods were told is in the kernel alone.
    fn learned(&self, _: &LearnedKey, _: u64) -> Option<&LearnedRow> {
        None
    }

    fn flow(&self, _: &FlowKey) -> Option<FlowRow> {
        None
    }

    fn note_flow(&self, _: &FlowKey, _: FlowRow) {}

    fn forget_flow(&self, _: &FlowKey) {}

    fn count_hit(&self, _: &HitKey, _: u32, _: u64) {}

    fn now(&self) -> u64 {
        0
    }
}
