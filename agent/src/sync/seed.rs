//! What a project's first policy must know of connections that are older than it.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::MapError;
use weft_core::compile::egress::flows::flows;
use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::packet::proto;
use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::egress::{NO_POLICY, POLICY_CLOSED};
use weft_ebpf::rows::flow::{FlowKey, FlowRow, origin};
use weft_ebpf::tables::map;

use super::kernel::{Kernel, KernelError};
use crate::bpf::Row;
use crate::bpf::maps::TableError;
use crate::netlink::conntrack;
use crate::observe::live::monotonic;

/// Pods by address, with the interface index of their endpoint.
pub(super) type Pods = BTreeMap<Addr, u32>;

impl Kernel {
    /// Pods whose project has a policy after these writes and has none in force now.
    ///
    /// Pods that come with the writes are new and have no connections, unless everything is written anew: then they are the
    /// pods of another version's tables.
    pub(super) fn newly_judged(&self, writes: &[Write]) -> Pods {
        let judges = |policy| policy != NO_POLICY && policy != POLICY_CLOSED;
        let judged = |project: &ProjectKey| {
            let row = self.mirror.projects.get(project);
            row.is_some_and(|row| judges(row.policy))
        };
        let projects: BTreeSet<_> = writes
            .iter()
            .filter_map(|write| match write {
                Write::Project(key, Some(row)) if judges(row.policy) && !judged(key) => Some(*key),
                _ => None,
            })
            .collect();
        if projects.is_empty() {
            return Pods::new();
        }
        let here = self.mirror.endpoints.iter();
        let here = here.map(|(addr, row)| (*addr, *row));
        let coming = writes.iter().filter_map(|write| match write {
            Write::Endpoint(addr, Some(row)) if !self.filled => Some((*addr, *row)),
            _ => None,
        });
        here.chain(coming)
            .filter(|(_, row)| projects.contains(&row.project))
            .map(|(addr, row)| (addr, row.ifindex))
            .collect()
    }

    /// Notes the open connections of these pods as if the data path had seen them begin. A failure is told and no more: the
    /// policy comes into force all the same.
    pub(super) fn seed_flows(&mut self, pods: &Pods) {
        if pods.is_empty() {
            return;
        }
        let seeded = conntrack::connections()
            .map_err(|error| error.to_string())
            .and_then(|connections| {
                self.note(flows(&connections, pods, monotonic()))
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = seeded {
            tracing::warn!(%error, "connections opened from outside before their project's first egress policy may be cut by it");
        }
    }

    /// Notes connections that the data path has not noted itself.
    fn note(&mut self, flows: Vec<(FlowKey, FlowRow)>) -> Result<(), KernelError> {
        let mut endpoints: BTreeMap<u32, Vec<(FlowKey, FlowRow)>> = BTreeMap::new();
        for (key, row) in flows {
            if !self.stays(&key, &row)? {
                endpoints.entry(row.ifindex).or_default().push((key, row));
            }
        }
        let share = self.mirror.node.flow_share;
        for (ifindex, flows) in endpoints {
            self.maps.note_flows(ifindex, share, &flows)?;
        }
        Ok(())
    }

    /// What the data path noted itself stays, except that it takes an answer for the beginning where it saw no other packet.
    /// Echoes of both directions have one key, and there the tracking knows no better.
    fn stays(&self, key: &FlowKey, row: &FlowRow) -> Result<bool, KernelError> {
        match self.maps.flows.get(&Row(*key), 0) {
            Ok(Row(found)) => Ok(found.ifindex == row.ifindex
                && (found.kind == row.kind
                    || row.kind == origin::IN
                    || !matches!(key.proto, proto::UDP | proto::SCTP))),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) => {
                let (call, map) = ("read", map::FLOWS);
                Err(TableError::Call { call, map, source }.into())
            }
        }
    }
}
