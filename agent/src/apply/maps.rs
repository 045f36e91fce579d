//! Typed maps, one write at a time.

use std::borrow::Borrow;

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
    RingBuf,
};
use weft_core::diff::Write;
use weft_ebpf::rows::{DropKey, FragmentsRow, TrafficRow};
use weft_ebpf::tables::{LpmKey, map};

use super::Row;

/// A map could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The object lacks the map.
    #[error("the eBPF object has no map {0}")]
    Missing(&'static str),
    /// The map call failed.
    #[error("{call} map {map}: {source}")]
    Call {
        /// `open`, `write`, `read`.
        call: &'static str,
        /// The map.
        map: &'static str,
        /// The cause.
        #[source]
        source: MapError,
    },
    /// The number of processors could not be read.
    #[error("read the number of possible processors: {0}")]
    Cpus(String),
}

/// The type of a map.
macro_rules! map {
    (Array, $key:ty, $row:ty) => { Array<MapData, Row<$row>> };
    (Hash, $key:ty, $row:ty) => { HashMap<MapData, Row<$key>, Row<$row>> };
    (LpmTrie, $key:ty, $row:ty) => { LpmTrie<MapData, Row<<$key as LpmKey>::Data>, Row<$row>> };
    (PerCpuArray, $key:ty, $row:ty) => { PerCpuArray<MapData, Row<$row>> };
    (PerCpuHash, $key:ty, $row:ty) => { PerCpuHashMap<MapData, Row<$key>, Row<$row>> };
    (LruPerCpuHash, $key:ty, $row:ty) => { PerCpuHashMap<MapData, Row<$key>, Row<$row>> };
}

macro_rules! maps {
    (world { $($world:tt)* } policy { $($policy:tt)* } shared { $($shared:tt)* } kernel { $($kernel:tt)* }) => {
        maps! { opened $($world)* $($policy)* $($shared)* }
        maps! { written $($world)* }
    };
    (opened $(
        $(#[$doc:meta])*
        $name:ident $field:ident $(($($write:tt)*))?: $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )*) => {
        /// The maps that user space writes or reads.
        pub struct Maps {
            $( $(#[$doc])* pub(crate) $field: map!($kind, $key, $row), )*
            cpus: usize,
        }

        impl Maps {
            /// Takes the maps out of the loaded object, all but those that only programs use, and the event rings.
            pub fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
                Ok(Self {
                    $( $field: take(ebpf, map::$name)?, )*
                    cpus: aya::util::nr_cpus().map_err(|(_, e)| TableError::Cpus(e.to_string()))?,
                })
            }
        }
    };
    (written $(
        $(#[$doc:meta])*
        $name:ident $field:ident ($write:ident $(as $held:ty)?): $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )*) => {
        impl Maps {
            /// Makes one write.
            pub fn write(&mut self, write: &Write) -> Result<(), TableError> {
                let (map, result) = match write {
                    Write::EgressPolicy(write) => {
                        return self.write_egress_policy(write.new.as_deref(), write.old.as_deref());
                    }
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

weft_ebpf::tables!(maps);

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

/// Takes the ring of names to resolve out of the loaded object.
pub fn take_name_events(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, TableError> {
    take(ebpf, map::NAME_EVENTS)
}

/// Takes the event ring out of the loaded object.
pub fn take_events(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, TableError> {
    take(ebpf, map::EVENTS)
}

fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, TableError> {
    let map = ebpf.take_map(name).ok_or(TableError::Missing(name))?;
    M::try_from(map).map_err(|source| TableError::Call {
        call: "open",
        map: name,
        source,
    })
}

pub(super) fn reading(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| TableError::Call {
        call: "read",
        map,
        source,
    }
}

pub(super) fn writing(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| TableError::Call {
        call: "write",
        map,
        source,
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

pub(crate) fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(nix::libc::ENOENT) => {
            Ok(())
        }
        other => other,
    }
}
