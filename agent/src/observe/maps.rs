//! Rows and counters of the eBPF maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aya::maps::{HashMap, LpmTrie, MapData, MapError};
use weft_core::compile::Tables;
use weft_ebpf::addr::Addr;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{DropRow, ProjectKey, ProjectRow, TrafficRow};
use weft_ebpf::tables::{LpmKey, SetKey as _, map};

use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError, reading};

macro_rules! observed {
    (world { $(
        $(#[$doc:meta])*
        $name:ident $field:ident ($($write:tt)*): $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )* } sets { $(
        $(#[$set_doc:meta])*
        $set:ident $sets:ident ($set_write:ident) { $(
            $(#[$rows_doc:meta])*
            $map:ident $rows:ident: $rows_kind:ident<$rows_key:ty => $rows_row:ty> [$rows_capacity:expr];
        )* }
    )* } $($others:tt)*) => {
        /// Every row that user space writes.
        pub fn tables(maps: &Maps) -> Result<Tables, TableError> {
            Ok(Tables {
                node: maps.node.get(&0, 0).map_err(reading(map::NODE))?.0,
                $( $sets: {
                    let mut found = BTreeMap::<u64, weft_core::compile::$set>::new();
                    $( let rows: BTreeMap<$rows_key, $rows_row> = rows!($rows_kind, maps.$rows, map::$map);
                    for (key, row) in rows {
                        found.entry(key.set()).or_default().$rows.insert(key, row);
                    } )*
                    found.into_iter().map(|(number, set)| (number, Arc::new(set))).collect()
                }, )*
                $( $field: rows!($kind, maps.$field, map::$name), )*
            })
        }
    };
}

/// All rows of a map. The keys of a trie have a type of their own.
macro_rules! rows {
    (LpmTrie, $map:expr, $name:expr) => {
        trie(&$map, $name)?
    };
    ($kind:ident, $map:expr, $name:expr) => {
        rows(&$map, $name)?
    };
}

weft_ebpf::tables!(observed);

/// Whether the map holds a row for the address that points at this interface.
pub fn has_endpoint(maps: &Maps, address: Addr, ifindex: u32) -> Result<bool, TableError> {
    match maps.endpoints.get(&Row(address), 0) {
        Ok(row) => Ok(row.0.ifindex == ifindex),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(error) => Err(reading(map::ENDPOINTS)(error)),
    }
}

/// What the data path holds of a project.
pub fn project(maps: &Maps, project: ProjectKey) -> Result<Option<ProjectRow>, TableError> {
    match maps.projects.get(&Row(project), 0) {
        Ok(Row(row)) => Ok(Some(row)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(reading(map::PROJECTS)(error)),
    }
}

/// An endpoint's traffic since it was attached, summed over the processors; zero for one that is not counted yet.
pub fn traffic(maps: &Maps, ifindex: u32) -> Result<TrafficRow, TableError> {
    let mut sum = TrafficRow::default();
    let values = match maps.traffic.get(&Row(ifindex), 0) {
        Ok(values) => values,
        Err(MapError::KeyNotFound) => return Ok(sum),
        Err(error) => return Err(reading(map::TRAFFIC)(error)),
    };
    for Row(value) in values.iter() {
        sum.from_packets += value.from_packets;
        sum.from_bytes += value.from_bytes;
        sum.to_packets += value.to_packets;
        sum.to_bytes += value.to_bytes;
    }
    Ok(sum)
}

/// Interfaces whose traffic or drops are counted. A packet that is under way while its endpoint is detached may be
/// counted after the endpoint's rows were removed.
pub fn counted(maps: &Maps) -> Result<BTreeSet<u32>, TableError> {
    let mut found = BTreeSet::new();
    for key in maps.traffic.keys() {
        found.insert(key.map_err(reading(map::TRAFFIC))?.0);
    }
    for key in maps.drops.keys() {
        found.insert(key.map_err(reading(map::DROPS))?.0.ifindex);
    }
    // Drops that concern no endpoint.
    found.remove(&0);
    Ok(found)
}

/// Drops by reason, of the whole node, those that happened.
pub fn drops_by_reason(maps: &Maps) -> Result<BTreeMap<DropReason, DropRow>, TableError> {
    let mut found = BTreeMap::new();
    for reason in DropReason::ALL {
        let values = maps
            .reasons
            .get(&(*reason as u32), 0)
            .map_err(reading(map::REASONS))?;
        let sum = sum(values.iter());
        if sum.packets > 0 {
            found.insert(*reason, sum);
        }
    }
    Ok(found)
}

/// Drops by endpoint (interface index) and reason.
pub fn drops_by_endpoint(maps: &Maps) -> Result<BTreeMap<(u32, DropReason), DropRow>, TableError> {
    let mut found = BTreeMap::new();
    for row in &maps.drops {
        let (Row(key), values) = row.map_err(reading(map::DROPS))?;
        if let Some(reason) = DropReason::from_number(key.reason) {
            found.insert((key.ifindex, reason), sum(values.iter()));
        }
    }
    Ok(found)
}

/// Drop events that were not sent, for want of budget or of room.
pub fn suppressed_events(maps: &Maps) -> Result<u64, TableError> {
    let values = maps.budget.get(&0, 0).map_err(reading(map::BUDGET))?;
    Ok(values.iter().map(|Row(budget)| budget.suppressed).sum())
}

fn sum<'a>(values: impl Iterator<Item = &'a Row<DropRow>>) -> DropRow {
    values.fold(DropRow::default(), |sum, Row(value)| DropRow {
        packets: sum.packets + value.packets,
        bytes: sum.bytes + value.bytes,
    })
}

fn rows<K: Copy + Ord, V: Copy>(
    map: &HashMap<MapData, Row<K>, Row<V>>,
    name: &'static str,
) -> Result<BTreeMap<K, V>, TableError>
where
    Row<K>: aya::Pod,
    Row<V>: aya::Pod,
{
    map.iter()
        .map(|row| {
            row.map(|(Row(key), Row(value))| (key, value))
                .map_err(reading(name))
        })
        .collect()
}

fn trie<K: LpmKey + Ord, V: Copy>(
    map: &LpmTrie<MapData, Row<K::Data>, Row<V>>,
    name: &'static str,
) -> Result<BTreeMap<K, V>, TableError>
where
    K::Data: Copy,
    Row<K::Data>: aya::Pod,
    Row<V>: aya::Pod,
{
    map.iter()
        .map(|row| {
            row.map(|(key, Row(value))| (K::new(key.prefix_len(), key.data().0), value))
                .map_err(reading(name))
        })
        .collect()
}
