//! The data path's own decision code over compiled tables.

use weft_ebpf::addr::Addr;
use weft_ebpf::decide;
use weft_ebpf::rows::{EndpointRow, PeerRow, PrefixRow, ProjectKey, SubnetRow, VNID_CLOSED};

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

    fn vnid(&self, project: &ProjectKey) -> u32 {
        self.projects
            .get(project)
            .map_or(VNID_CLOSED, |row| row.vnid)
    }
}
