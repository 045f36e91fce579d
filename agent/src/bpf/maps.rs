//! The maps that user space writes or reads, as they are taken out of the loaded object.

use aya::Ebpf;
use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf,
};
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
    (world { $($world:tt)* } sets { $(
        $(#[$doc:meta])*
        $set:ident $sets:ident ($write:ident) { $($rows:tt)* }
    )* } shared { $($shared:tt)* } kernel { $($kernel:tt)* }) => {
        maps! { opened $($world)* $($($rows)*)* $($shared)* }
    };
    (opened $(
        $(#[$doc:meta])*
        $name:ident $field:ident $(($($write:tt)*))?: $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )*) => {
        /// The maps that user space writes or reads.
        pub struct Maps {
            $( $(#[$doc])* pub(crate) $field: map!($kind, $key, $row), )*
            /// Possible processors.
            pub(crate) cpus: usize,
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
}

weft_ebpf::tables!(maps);

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

/// The error of a read.
pub(crate) fn reading(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| TableError::Call {
        call: "read",
        map,
        source,
    }
}

/// The error of a write.
pub(crate) fn writing(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| TableError::Call {
        call: "write",
        map,
        source,
    }
}

/// A row that is not there need not be removed.
pub(crate) fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(nix::libc::ENOENT) => {
            Ok(())
        }
        other => other,
    }
}
