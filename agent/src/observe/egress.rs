//! The egress firewall in the kernel: what rules met, what pods were told.

use std::collections::BTreeMap;

use weft_ebpf::rows::ProjectKey;
use weft_ebpf::rows::dns::LearningRow;
use weft_ebpf::rows::egress::{HitRow, LearnedKey, LearnedRow};
use weft_ebpf::rows::flow::FlowUseRow;
use weft_ebpf::tables::map;

use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError, reading};

/// What each rule met, by the policy's number and the rule's place, summed over the processors.
pub fn hits(maps: &Maps) -> Result<BTreeMap<(u64, u32), HitRow>, TableError> {
    let mut found = BTreeMap::new();
    for row in &maps.hits {
        let (Row(key), values) = row.map_err(reading(map::HITS))?;
        let sum = values
            .iter()
            .fold(HitRow::default(), |sum, Row(it)| HitRow {
                packets: sum.packets + it.packets,
                bytes: sum.bytes + it.bytes,
                last: sum.last.max(it.last),
            });
        found.insert((key.policy, key.rank), sum);
    }
    Ok(found)
}

/// Addresses that pods were told, with their names.
pub fn learned(maps: &Maps) -> Result<BTreeMap<LearnedKey, LearnedRow>, TableError> {
    maps.learned
        .iter()
        .map(|row| {
            row.map(|(Row(key), Row(row))| (key, row))
                .map_err(reading(map::LEARNED))
        })
        .collect()
}

/// How the endpoints use their shares of connections, by interface.
pub fn flow_use(maps: &Maps) -> Result<BTreeMap<u32, FlowUseRow>, TableError> {
    maps.flow_use
        .iter()
        .map(|row| {
            row.map(|(Row(key), Row(row))| (key, row))
                .map_err(reading(map::FLOW_USE))
        })
        .collect()
}

/// How learning goes, by project.
pub fn learning(maps: &Maps) -> Result<BTreeMap<ProjectKey, LearningRow>, TableError> {
    maps.learning
        .iter()
        .map(|row| {
            row.map(|(Row(key), Row(row))| (key, row))
                .map_err(reading(map::LEARNING))
        })
        .collect()
}
