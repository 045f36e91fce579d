//! The complete wanted content of the maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use weft_ebpf::rows::{NodeRow, ProjectKey};
use weft_ebpf::tables::map;

macro_rules! tables {
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
        /// Rows of every map that user space writes.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Tables {
            /// What is true for the whole node.
            pub node: NodeRow,
            $( $(#[$set_doc])* pub $sets: BTreeMap<u64, Arc<$set>>, )*
            $( $(#[$doc])* pub $field: BTreeMap<$key, $row>, )*
        }

        impl Tables {
            /// Rows of each map that can become full, and how many it can hold.
            pub fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
                let mut sizes = Vec::new();
                $( $(
                    let rows = self.$sets.values().map(|set| set.$rows.len()).sum();
                    sizes.push((map::$map, rows, $rows_capacity as usize));
                )* )*
                sizes.extend([$( (map::$name, self.$field.len(), $capacity as usize), )*]);
                sizes
            }
        }

        $(
            $(#[$set_doc])*
            ///
            /// All under one number, which stands for what they are. They are written before anything points at them, and do not
            /// change after.
            #[derive(Clone, Debug, Default, PartialEq, Eq)]
            pub struct $set {
                $( $(#[$rows_doc])* pub $rows: BTreeMap<$rows_key, $rows_row>, )*
            }

            impl $set {
                /// Rows of the map that has most of them.
                pub fn most_rows(&self) -> usize {
                    [$( self.$rows.len() ),*].into_iter().max().unwrap_or_default()
                }
            }
        )*
    };
}

weft_ebpf::tables!(tables);

/// The key of a project: the first eight bytes of its name's SHA-256.
///
/// Whoever may create projects can search two names of his own with one key, which joins them: he may join them anyway.
/// To meet somebody else's takes 2^64 tries.
pub fn project_key(name: &str) -> ProjectKey {
    let digest = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    ProjectKey(u64::from_be_bytes(first))
}
