//! What the programs of another version noted, taken over: connections, and the addresses of names.
//!
//! Only from tables of the same shape. A row that gets another meaning in the same shape needs a table of another name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aya::maps::{HashMap, Map, MapData};
use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::dns::RingKey;
use weft_ebpf::rows::egress::{LearnedKey, LearnedRow};
use weft_ebpf::rows::flow::{FlowKey, FlowRow};
use weft_ebpf::rows::{NodeRow, dns::LearningRow};
use weft_ebpf::tables::map;

use super::object::has_rows;
use super::pins::Pins;
use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError, ignore_missing, reading, writing};

/// Whose rows mean something here.
#[derive(Debug, Default)]
pub struct Local {
    /// Interfaces of the endpoints.
    pub interfaces: BTreeSet<u32>,
    /// Projects of the endpoints.
    pub projects: BTreeSet<ProjectKey>,
}

/// What was looked at already. What has given way since must not come back, in the place of something newer.
#[derive(Debug, Default)]
pub struct Seen {
    flows: HashSet<FlowKey>,
    learned: HashSet<LearnedKey>,
}

impl Maps {
    /// Takes over what another version noted, was not `seen` before and this one does not know; `now` is of the monotonic clock, in
    /// nanoseconds. Tells how many rows.
    pub fn carry(
        &mut self,
        other: &Pins,
        local: &Local,
        node: &NodeRow,
        seen: &mut Seen,
        now: u64,
    ) -> Result<usize, TableError> {
        Ok(
            self.carry_flows(other, local, node.flow_share, &mut seen.flows, now)?
                + self.carry_learned(other, local, node.learned_limit, &mut seen.learned, now)?,
        )
    }

    fn carry_flows(
        &mut self,
        other: &Pins,
        local: &Local,
        share: u32,
        seen: &mut HashSet<FlowKey>,
        now: u64,
    ) -> Result<usize, TableError> {
        let mut carried: BTreeMap<u32, Vec<(FlowKey, FlowRow)>> = BTreeMap::new();
        for (key, row) in rows::<FlowKey, FlowRow>(other, map::FLOWS)? {
            let known = self.flows.get(&Row(key), 0);
            if local.interfaces.contains(&row.ifindex)
                && seen.insert(key)
                && !key.is_over(&row, now)
                && !known.is_ok_and(|Row(known)| known.ifindex == row.ifindex)
            {
                carried.entry(row.ifindex).or_default().push((key, row));
            }
        }
        let mut count = 0;
        for (ifindex, mut flows) in carried {
            flows.sort_by_key(|(_, row)| row.seen);
            self.note_flows(ifindex, share, &flows)?;
            count += flows.len().min(share as usize);
        }
        Ok(count)
    }

    fn carry_learned(
        &mut self,
        other: &Pins,
        local: &Local,
        limit: u32,
        seen: &mut HashSet<LearnedKey>,
        now: u64,
    ) -> Result<usize, TableError> {
        let mut carried: BTreeMap<ProjectKey, Vec<(LearnedKey, LearnedRow)>> = BTreeMap::new();
        for (key, row) in rows::<LearnedKey, LearnedRow>(other, map::LEARNED)? {
            if local.projects.contains(&key.project)
                && seen.insert(key)
                && row.names.iter().any(|name| name.expires > now)
                && self.learned.get(&Row(key), 0).is_err()
            {
                carried.entry(key.project).or_default().push((key, row));
            }
        }
        let mut count = 0;
        for (project, mut learned) in carried {
            learned.sort_by_key(|(_, row)| row.used);
            let over = learned.len().saturating_sub(limit as usize);
            self.note_learned(project, limit, &learned[over..])?;
            count += learned.len() - over;
        }
        Ok(count)
    }

    /// Notes addresses, not more than `limit`, in places of the project's ring as the programs do it.
    fn note_learned(
        &mut self,
        project: ProjectKey,
        limit: u32,
        learned: &[(LearnedKey, LearnedRow)],
    ) -> Result<(), TableError> {
        let progress = self.learning.get(&Row(project), 0);
        let mut progress = progress.map_or_else(|_| LearningRow::default(), |Row(row)| row);
        let first = progress.next;
        progress.next += learned.len() as u64;
        let result = self.learning.insert(Row(project), Row(progress), 0);
        result.map_err(writing(map::LEARNING))?;
        for (number, (key, row)) in (first..).zip(learned) {
            let slot = u32::try_from(number % u64::from(limit)).unwrap_or_default(); // below `limit`
            let place = Row(RingKey {
                project,
                slot,
                reserved: 0,
            });
            if let Ok(Row(addr)) = self.ring.get(&place, 0) {
                let old = Row(LearnedKey { project, addr });
                if self.learned.get(&old, 0).is_ok_and(|it| it.0.slot == slot) {
                    ignore_missing(self.learned.remove(&old)).map_err(writing(map::LEARNED))?;
                }
            }
            let result = self.ring.insert(place, Row(key.addr), 0);
            result.map_err(writing(map::RING))?;
            let row = LearnedRow { slot, ..*row };
            let result = self.learned.insert(Row(*key), Row(row), 0);
            result.map_err(writing(map::LEARNED))?;
        }
        Ok(())
    }
}

/// The rows of another version's table; none if it has another shape.
fn rows<K, V>(other: &Pins, name: &'static str) -> Result<Vec<(K, V)>, TableError>
where
    Row<K>: aya::Pod,
    Row<V>: aya::Pod,
{
    let path = other.map(name);
    if !has_rows(&path, name) {
        return Ok(Vec::new());
    }
    let fail = |source| TableError::Call {
        call: "open another version's",
        map: name,
        source,
    };
    let data = MapData::from_pin(&path).map_err(fail)?;
    let table: HashMap<_, Row<K>, Row<V>> = HashMap::try_from(Map::HashMap(data)).map_err(fail)?;
    let rows = table
        .iter()
        .map(|row| row.map(|(Row(key), Row(row))| (key, row)));
    rows.collect::<Result<_, _>>().map_err(reading(name))
}
