//! Wanted tables x actual tables -> writes, as data.

pub mod host;
pub mod iptables;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use weft_ebpf::rows::NodeRow;
use weft_ebpf::rows::dns::NameKey;

use crate::compile::{EgressPolicyTable, Tables};

/// The type of the key in a write.
macro_rules! held {
    ($key:ty, $held:ty) => {
        $held
    };
    ($key:ty) => {
        $key
    };
}

macro_rules! writes {
    (world { $(
        $(#[$doc:meta])*
        $name:ident $field:ident ($write:ident $(as $held:ty)?): $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )* } sets { $(
        $(#[$set_doc:meta])*
        $set:ident $sets:ident ($set_write:ident) { $($rows:tt)* }
    )* } $($others:tt)*) => {
        /// One write to a map; `None` removes the row.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Write {
            /// The row of the node.
            Node(NodeRow),
            $( $(#[$set_doc])* $set_write(SetWrite<$set>), )*
            $( $(#[$doc])* $write(held!($key $(, $held)?), Option<$row>), )*
        }

        /// A set, by its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum SetId {
            $( $(#[$set_doc])* $set_write(u64), )*
        }

        impl Write {
            /// Whether it removes rows.
            pub const fn removes(&self) -> bool {
                match self {
                    Self::Node(_) => false,
                    $( Self::$set_write(write) => write.new.is_none(), )*
                    $( Self::$write(_, row) => row.is_none(), )*
                }
            }

            /// The set that it writes or removes as a whole.
            pub const fn whole_set(&self) -> Option<SetId> {
                match self {
                    $( Self::$set_write(write) => Some(SetId::$set_write(write.number)), )*
                    _ => None,
                }
            }

            /// Rows that it can add to any one map.
            pub fn most_rows(&self) -> usize {
                match self {
                    $( Self::$set_write(write) => write.new.as_ref().map_or(0, |set| set.most_rows()), )*
                    _ => 1,
                }
            }
        }

        /// The writes of all tables but the node's row, in their order.
        fn tables(wanted: &Tables, actual: &Tables, puts: &mut Vec<Write>, removes: &mut Vec<Write>) {
            $( sets(&wanted.$sets, &actual.$sets, Write::$set_write, puts, removes); )*
            $(
                let write = |key: $key, row| Write::$write(key.into(), row);
                table(&wanted.$field, &actual.$field, write, puts, removes);
            )*
        }

        impl Tables {
            /// What the maps hold after a write: the tables' own copy of it.
            pub fn write(&mut self, write: &Write) {
                match write {
                    Write::Node(row) => self.node = *row,
                    $( Write::$set_write(write) => put(&mut self.$sets, write.number, write.new.clone()), )*
                    $( Write::$write(key, row) => put(&mut self.$field, *Borrow::<$key>::borrow(key), *row), )*
                }
            }
        }
    };
}

weft_ebpf::tables!(writes);

/// All rows of a set, under its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetWrite<T> {
    /// The set's number.
    pub number: u64,
    /// What there is to be; `None` removes the set, once no packet is at work that may have found it.
    pub new: Option<Arc<T>>,
    /// What there is of it.
    pub old: Option<Arc<T>>,
}

impl Write {
    /// The set without which it means nothing: its own rows, or a row of another table under its number.
    pub const fn set(&self) -> Option<SetId> {
        match self {
            Self::Resolved(key, _) => Some(SetId::EgressPolicy(key.policy)),
            _ => self.whole_set(),
        }
    }
}

/// The writes that turn `actual` into `wanted`, in the order in which they must be made.
///
/// Endpoints that go are closed first. Rows are put before those that point at them and removed after: whoever finds an endpoint finds its project, whoever
/// finds a prefix finds its subnets. Keys of both sides are walked, so leftovers are removed.
pub fn diff(wanted: &Tables, actual: &Tables) -> Vec<Write> {
    let mut puts = Vec::new();
    let mut removes = Vec::new();
    if wanted.node != actual.node {
        puts.push(Write::Node(wanted.node));
    }
    tables(wanted, actual, &mut puts, &mut removes);
    // What closes comes first: an endpoint that goes is closed before its project loses the policy that holds only while it
    // has pods here.
    let (closing, removes): (Vec<_>, Vec<_>) = removes
        .into_iter()
        .rev()
        .partition(|write| matches!(write, Write::Endpoint(_, None)));
    [closing, puts, removes].concat()
}

fn sets<T: PartialEq>(
    wanted: &BTreeMap<u64, Arc<T>>,
    actual: &BTreeMap<u64, Arc<T>>,
    write: impl Fn(SetWrite<T>) -> Write,
    puts: &mut Vec<Write>,
    removes: &mut Vec<Write>,
) {
    for (number, new) in wanted {
        let old = actual.get(number);
        if old != Some(new) {
            puts.push(write(SetWrite {
                number: *number,
                new: Some(Arc::clone(new)),
                old: old.cloned(),
            }));
        }
    }
    for (number, old) in actual {
        if !wanted.contains_key(number) {
            removes.push(write(SetWrite {
                number: *number,
                new: None,
                old: Some(Arc::clone(old)),
            }));
        }
    }
}

fn table<K: Copy + Ord, V: Clone + PartialEq>(
    wanted: &BTreeMap<K, V>,
    actual: &BTreeMap<K, V>,
    write: impl Fn(K, Option<V>) -> Write,
    puts: &mut Vec<Write>,
    removes: &mut Vec<Write>,
) {
    for (key, row) in wanted {
        if actual.get(key) != Some(row) {
            puts.push(write(*key, Some(row.clone())));
        }
    }
    for key in actual.keys().filter(|key| !wanted.contains_key(key)) {
        removes.push(write(*key, None));
    }
}

fn put<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, row: Option<V>) {
    match row {
        Some(row) => {
            table.insert(key, row);
        }
        None => {
            table.remove(&key);
        }
    }
}
