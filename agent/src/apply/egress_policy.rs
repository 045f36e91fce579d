//! The rows of egress policies.

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use weft_core::compile::egress::EgressPolicyTable;
use weft_ebpf::tables::map;

use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError, ignore_missing};

impl Maps {
    /// Writes all rows of a policy that no project points at yet, or removes those of one that none points at any more.
    pub(super) fn write_egress_policy(
        &mut self,
        new: Option<&EgressPolicyTable>,
        old: Option<&EgressPolicyTable>,
    ) -> Result<(), TableError> {
        let empty = EgressPolicyTable::default();
        let (new, old) = (new.unwrap_or(&empty), old.unwrap_or(&empty));
        for (key, row) in &new.rules {
            if old.rules.get(key) != Some(row) {
                written(map::RULES, self.rules.insert(Row(*key), Row(*row), 0))?;
            }
        }
        for ((bits, key), class) in &new.ports {
            if old.ports.get(&(*bits, *key)) != Some(class) {
                let key = Key::new(*bits, Row(*key));
                written(map::PORTS, self.ports.insert(&key, Row(*class), 0))?;
            }
        }
        for (key, row) in &new.searches {
            if old.searches.get(key) != Some(row) {
                written(map::SEARCHES, self.searches.insert(Row(*key), Row(*row), 0))?;
            }
        }
        for key in old
            .searches
            .keys()
            .filter(|key| !new.searches.contains_key(key))
        {
            written(
                map::SEARCHES,
                ignore_missing(self.searches.remove(&Row(*key))),
            )?;
        }
        for key in old.ports.keys().filter(|key| !new.ports.contains_key(key)) {
            let key = Key::new(key.0, Row(key.1));
            written(map::PORTS, ignore_missing(self.ports.remove(&key)))?;
        }
        for key in old.rules.keys().filter(|key| !new.rules.contains_key(key)) {
            written(map::RULES, ignore_missing(self.rules.remove(&Row(*key))))?;
        }
        Ok(())
    }
}

fn written(map: &'static str, result: Result<(), MapError>) -> Result<(), TableError> {
    result.map_err(|source| TableError::Call {
        call: "write",
        map,
        source,
    })
}
