//! The complete wanted content of the maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use weft_ebpf::rows::{NodeRow, ProjectKey, TABLE_CAPACITY, egress};
use weft_ebpf::tables::map;

use super::egress::EgressPolicyTable;

macro_rules! tables {
    (world { $(
        $(#[$doc:meta])*
        $name:ident $field:ident ($($write:tt)*): $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )* } $($others:tt)*) => {
        /// Rows of every map that user space writes.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Tables {
            /// What is true for the whole node.
            pub node: NodeRow,
            /// Rules, searches and ports by the policy's number.
            pub egress_policies: BTreeMap<u64, Arc<EgressPolicyTable>>,
            $( $(#[$doc])* pub $field: BTreeMap<$key, $row>, )*
        }

        impl Tables {
            /// Rows of each map that can become full, and how many it can hold.
            pub fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
                let mut sizes = self.egress_policy_sizes();
                sizes.extend([$( (map::$name, self.$field.len(), $capacity as usize), )*]);
                sizes
            }
        }
    };
}

weft_ebpf::tables!(tables);

impl Tables {
    fn egress_policy_sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let sum = |rows: fn(&EgressPolicyTable) -> usize| {
            self.egress_policies.values().map(|it| rows(it)).sum()
        };
        let sized = |name, rows, room: u32| (name, rows, room as usize);
        vec![
            sized(map::RULES, sum(|it| it.rules.len()), egress::RULES_CAPACITY),
            sized(map::SEARCHES, sum(|it| it.searches.len()), TABLE_CAPACITY),
            sized(map::PORTS, sum(|it| it.ports.len()), egress::PORTS_CAPACITY),
        ]
    }
}

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
