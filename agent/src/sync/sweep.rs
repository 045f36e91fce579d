//! What the programs leave behind: counters of policies that are no more, addresses, questions and connections that are over.

use std::collections::BTreeSet;

use aya::maps::{HashMap, MapData, MapError};
use weft_core::compile::project_key;
use weft_core::model::Endpoint;
use weft_ebpf::addr::Addr;
use weft_ebpf::dns::lease;
use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::dns::RingKey;
use weft_ebpf::rows::egress::{LearnedKey, LearnedRow};
use weft_ebpf::tables::map;

use super::kernel::{Kernel, KernelError};
use crate::bpf::Row;
use crate::bpf::maps::{TableError, ignore_missing};

impl Kernel {
    /// Removes rows that the data path writes and nothing reads any more. The programs may write some of them at the same time:
    /// what they write anew is found by the next pass.
    pub(super) fn sweep(&mut self, endpoints: &[Endpoint], now: u64) -> Result<usize, KernelError> {
        let local: BTreeSet<ProjectKey> = endpoints
            .iter()
            .map(|endpoint| project_key(&endpoint.project))
            .collect();
        let policies = &self.mirror.egress_policies;
        let mut removed = 0;
        let hits = self.maps.hits.keys();
        let hits = hits.filter(|key| {
            key.as_ref()
                .map_or(true, |Row(it)| !policies.contains_key(&it.policy))
        });
        let hits: Vec<_> = hits
            .collect::<Result<_, _>>()
            .map_err(failed("read", map::HITS))?;
        for key in hits {
            let result = ignore_missing(self.maps.hits.remove(&key));
            result.map_err(failed("write", map::HITS))?;
            removed += 1;
        }
        // A project's share shrinks when others come that learn: what is beyond it goes, once it is not in use.
        let limit = self.mirror.node.learned_limit;
        let is_over = |key: &LearnedKey, row: &LearnedRow| {
            !local.contains(&key.project)
                || row.names.iter().all(|it| it.expires <= now)
                || row.slot >= limit && now >= row.used.saturating_add(lease::IN_USE)
        };
        let mut over = Vec::new();
        for row in &self.maps.learned {
            let (Row(key), Row(row)) = row.map_err(failed("read", map::LEARNED))?;
            if is_over(&key, &row) {
                over.push(Row(key));
            }
        }
        // A pod may be told the address again at any time: looked at once more, right before.
        for key in over {
            if self
                .maps
                .learned
                .get(&key, 0)
                .is_ok_and(|Row(row)| is_over(&key.0, &row))
            {
                let result = ignore_missing(self.maps.learned.remove(&key));
                result.map_err(failed("write", map::LEARNED))?;
                removed += 1;
            }
        }
        let strange = |key: &ProjectKey| !local.contains(key);
        let learning = self.maps.learning.keys();
        let learning = learning.filter(|key| key.as_ref().map_or(true, |Row(it)| strange(it)));
        let learning: Vec<_> = learning
            .collect::<Result<_, _>>()
            .map_err(failed("read", map::LEARNING))?;
        removed += remove(&mut self.maps.learning, &learning, map::LEARNING)?;
        let ring = self.maps.ring.keys();
        let beyond = |key: &RingKey| strange(&key.project) || key.slot >= limit;
        let ring = ring.filter(|key| key.as_ref().map_or(true, |Row(it)| beyond(it)));
        let ring: Vec<_> = ring
            .collect::<Result<_, _>>()
            .map_err(failed("read", map::RING))?;
        removed += remove(&mut self.maps.ring, &ring, map::RING)?;
        let addresses: BTreeSet<Addr> = endpoints
            .iter()
            .flat_map(|it| it.addresses.iter().copied().map(Addr::from))
            .collect();
        let queries = self.maps.queries.keys();
        let queries = queries.filter(|key| {
            key.as_ref()
                .map_or(true, |Row(it)| !addresses.contains(&it.pod))
        });
        let queries: Vec<_> = queries
            .collect::<Result<_, _>>()
            .map_err(failed("read", map::QUERIES))?;
        removed += remove(&mut self.maps.queries, &queries, map::QUERIES)?;
        let local = endpoints.iter().map(|it| it.host_ifindex).collect();
        let share = self.mirror.node.flow_share;
        Ok(removed + self.maps.sweep_flows(&local, share, now)?)
    }
}

fn remove<K, V>(
    map: &mut HashMap<MapData, Row<K>, Row<V>>,
    keys: &[Row<K>],
    name: &'static str,
) -> Result<usize, KernelError>
where
    Row<K>: aya::Pod,
    Row<V>: aya::Pod,
{
    for key in keys {
        ignore_missing(map.remove(key)).map_err(failed("write", name))?;
    }
    Ok(keys.len())
}

fn failed(call: &'static str, map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |source| TableError::Call { call, map, source }.into()
}
