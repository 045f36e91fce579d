//! One write to a map at a time.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, MapData, MapError, PerCpuValues};
use weft_core::diff::{SetWrite, Write};
use weft_ebpf::rows::{DropKey, FragmentsRow, TrafficRow};
use weft_ebpf::tables::{LpmKey, map};

use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError, ignore_missing, writing};

macro_rules! written {
    (world { $(
        $(#[$doc:meta])*
        $name:ident $field:ident ($write:ident $(as $held:ty)?): $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )* } sets { $(
        $(#[$set_doc:meta])*
        $set:ident $sets:ident ($set_write:ident) { $(
            $(#[$rows_doc:meta])*
            $map:ident $rows:ident: $rows_kind:ident<$rows_key:ty => $rows_row:ty> [$rows_capacity:expr];
        )* }
    )* } $($others:tt)*) => {
        impl Maps {
            /// Makes one write.
            pub fn write(&mut self, write: &Write) -> Result<(), TableError> {
                let (map, result) = match write {
                    $( Write::$set_write(SetWrite { new, old, .. }) => {
                        $(
                            let (to, from) = (new.as_deref(), old.as_deref());
                            let (to, from) = (to.map(|set| &set.$rows), from.map(|set| &set.$rows));
                            put_set(&mut self.$rows, to, from).map_err(writing(map::$map))?;
                        )*
                        return Ok(());
                    } )*
                    Write::Node(row) => (map::NODE, self.node.set(0, Row(*row), 0)),
                    $( Write::$write(key, row) => {
                        (map::$name, put(&mut self.$field, *Borrow::<$key>::borrow(key), *row))
                    } )*
                };
                result.map_err(writing(map))
            }
        }
    };
}

weft_ebpf::tables!(written);

impl Maps {
    /// Starts counting an endpoint's traffic from zero, what it sends in fragments and its connections; one that is counted
    /// already goes on.
    pub fn count(&mut self, ifindex: u32) -> Result<(), TableError> {
        self.share_flows(ifindex)?;
        if self.fragments.get(&Row(ifindex), 0).is_err() {
            let none = Row(FragmentsRow::default());
            let result = self.fragments.insert(Row(ifindex), none, 0);
            result.map_err(writing(map::FRAGMENTS))?;
        }
        if self.traffic.get(&Row(ifindex), 0).is_ok() {
            return Ok(());
        }
        let fail = writing(map::TRAFFIC);
        let zero = PerCpuValues::try_from(vec![Row(TrafficRow::default()); self.cpus])
            .map_err(|e| fail(MapError::IoError(e)))?;
        self.traffic.insert(Row(ifindex), zero, 0).map_err(fail)
    }

    /// Forgets an endpoint's counters and connections.
    pub fn forget(&mut self, ifindex: u32) -> Result<(), TableError> {
        self.forget_flows(ifindex)?;
        ignore_missing(self.traffic.remove(&Row(ifindex))).map_err(writing(map::TRAFFIC))?;
        ignore_missing(self.fragments.remove(&Row(ifindex))).map_err(writing(map::FRAGMENTS))?;
        for reason in weft_ebpf::reason::DropReason::ALL {
            let key = Row(DropKey {
                ifindex,
                reason: *reason as u32,
            });
            ignore_missing(self.drops.remove(&key)).map_err(writing(map::DROPS))?;
        }
        Ok(())
    }
}

/// A map of rows under keys.
trait Rows<K, V> {
    fn insert(&mut self, key: K, row: V) -> Result<(), MapError>;
    fn remove(&mut self, key: K) -> Result<(), MapError>;
}

impl<K, V> Rows<K, V> for HashMap<MapData, Row<K>, Row<V>>
where
    Row<K>: aya::Pod,
    Row<V>: aya::Pod,
{
    fn insert(&mut self, key: K, row: V) -> Result<(), MapError> {
        Self::insert(self, Row(key), Row(row), 0)
    }

    fn remove(&mut self, key: K) -> Result<(), MapError> {
        Self::remove(self, &Row(key))
    }
}

impl<K: LpmKey, V> Rows<K, V> for LpmTrie<MapData, Row<K::Data>, Row<V>>
where
    Row<K::Data>: aya::Pod,
    Row<V>: aya::Pod,
{
    fn insert(&mut self, key: K, row: V) -> Result<(), MapError> {
        Self::insert(self, &trie_key(key), Row(row), 0)
    }

    fn remove(&mut self, key: K) -> Result<(), MapError> {
        Self::remove(self, &trie_key(key))
    }
}

fn trie_key<K: LpmKey>(key: K) -> Key<Row<K::Data>>
where
    Row<K::Data>: aya::Pod,
{
    let (bits, data) = key.parts();
    Key::new(bits, Row(data))
}

fn put<K, V>(map: &mut impl Rows<K, V>, key: K, row: Option<V>) -> Result<(), MapError> {
    match row {
        Some(row) => map.insert(key, row),
        None => ignore_missing(map.remove(key)),
    }
}

/// Writes the rows of a set that nothing points at yet, or removes those of one that nothing points at any more.
fn put_set<K: Copy + Ord, V: Copy + PartialEq>(
    map: &mut impl Rows<K, V>,
    new: Option<&BTreeMap<K, V>>,
    old: Option<&BTreeMap<K, V>>,
) -> Result<(), MapError> {
    let none = BTreeMap::new();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    for (key, row) in new {
        if old.get(key) != Some(row) {
            put(map, *key, Some(*row))?;
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(key)) {
        put(map, *key, None)?;
    }
    Ok(())
}
