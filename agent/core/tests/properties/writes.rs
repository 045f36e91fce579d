//! What a difference of tables consists of, and its order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weft_core::compile::{Tables, compile};
use weft_core::diff::{Write, diff};
use weft_ebpf::rows::egress::{NO_POLICY, POLICY_CLOSED};

use crate::worlds::world;

/// Where a write stands in the order of dependence: who points at a row comes after it.
fn rank(write: &Write) -> u8 {
    match write {
        Write::Node(_) => 0,
        Write::EgressPolicy(_) => 1,
        Write::Resolved(..) => 2,
        Write::Name(..) => 3,
        Write::Trusted(..) => 4,
        Write::Project(..) => 5,
        Write::Peer(..) => 6,
        Write::Subnet(..) => 7,
        Write::Prefix(..) => 8,
        Write::Sender(..) => 9,
        Write::Endpoint(..) => 10,
    }
}

/// Each endpoint that has a row has a project that has one, too; the same for PODS prefixes is a matter of `SUBNETS`,
/// which may lack any subnet.
fn endpoints_without_project(tables: &Tables) -> BTreeSet<u64> {
    let endpoints = tables.endpoints.values();
    endpoints
        .map(|row| row.project)
        .filter(|project| !tables.projects.contains_key(project))
        .map(|project| project.0)
        .collect()
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn writes_lead_from_actual_to_wanted(wanted in world(), actual in world()) {
        let (wanted, mut actual) = (compile(&wanted), compile(&actual));
        for write in diff(&wanted, &actual) {
            actual.write(&write);
        }
        prop_assert_eq!(actual, wanted);
    }

    #[test]
    fn equal_tables_need_no_write(world in world()) {
        let tables = compile(&world);
        prop_assert_eq!(diff(&tables, &tables), vec![]);
    }

    /// No row is written twice, so that a packet sees the old row or the new one and nothing in between.
    #[test]
    fn a_row_is_written_once(wanted in world(), actual in world()) {
        let (wanted, actual) = (compile(&wanted), compile(&actual));
        let writes = diff(&wanted, &actual);
        let keys: BTreeSet<String> = writes
            .iter()
            .map(|write| match write {
                Write::Node(_) => "node".into(),
                Write::EgressPolicy(write) => format!("policy {}", write.number),
                Write::Resolved(key, _) => format!("resolved {key:?}"),
                Write::Name(key, _) => format!("name {key:?}"),
                Write::Trusted(key, _) => format!("trusted {key:?}"),
                Write::Prefix(key, _) => format!("prefix {key:?}"),
                Write::Subnet(key, _) => format!("subnet {key:?}"),
                Write::Peer(key, _) => format!("peer {key:?}"),
                Write::Project(key, _) => format!("project {key:?}"),
                Write::Sender(key, _) => format!("sender {key:?}"),
                Write::Endpoint(key, _) => format!("endpoint {key:?}"),
            })
            .collect();
        prop_assert_eq!(keys.len(), writes.len());
    }

    /// Endpoints that go are closed before anything else: an endpoint never outlives the policy that holds for it.
    #[test]
    fn endpoints_close_then_puts_come_in_order_of_dependence_then_removals_reversed(
        wanted in world(),
        actual in world(),
    ) {
        let (wanted, actual) = (compile(&wanted), compile(&actual));
        let all = diff(&wanted, &actual);
        let closing = |write: &Write| matches!(write, Write::Endpoint(_, None));
        let closed = all.iter().take_while(|write| closing(write)).count();
        let writes = &all[closed..];
        prop_assert!(!writes.iter().any(closing), "an endpoint closes late: {:?}", all);
        let first_removal = writes.iter().position(Write::removes).unwrap_or(writes.len());
        let (puts, rest) = writes.split_at(first_removal);
        prop_assert!(rest.iter().all(Write::removes), "a put follows a removal: {:?}", writes);
        prop_assert!(puts.is_sorted_by_key(rank), "{:?}", puts);
        prop_assert!(rest.iter().rev().is_sorted_by_key(rank), "{:?}", rest);
    }

    /// At any moment between two writes, a packet that finds a project finds all rows of its policy, and no row of it
    /// changes meanwhile. What names of the policy have resolved to is there when the policy comes into force.
    #[test]
    fn a_policy_in_force_is_whole(wanted in world(), actual in world()) {
        let (wanted, actual) = (compile(&wanted), compile(&actual));
        let whole: BTreeMap<_, _> = actual.egress_policies.iter().chain(&wanted.egress_policies).collect();
        let mut tables = actual.clone();
        for write in diff(&wanted, &actual) {
            if let Write::EgressPolicy(write) = &write {
                let users: Vec<_> = tables.projects.values().collect();
                prop_assert!(
                    users.iter().all(|row| row.policy != write.number),
                    "policy {} is written while it is in force", write.number
                );
            }
            tables.write(&write);
            for (key, row) in &tables.projects {
                if row.policy == NO_POLICY || row.policy == POLICY_CLOSED {
                    continue;
                }
                prop_assert_eq!(
                    tables.egress_policies.get(&row.policy), whole.get(&row.policy).copied(),
                    "after {:?}: policy of {:?}", write, key
                );
                prop_assert_eq!(row.flags, whole[&row.policy].flags());
                let of = |all: &Tables| -> BTreeSet<_> {
                    let all = all.resolved.iter();
                    all.filter(|(key, _)| key.policy == row.policy).map(|(k, r)| (*k, *r)).collect()
                };
                let (now, old, new) = (of(&tables), of(&actual), of(&wanted));
                let was_in_force = actual.projects.values().any(|it| it.policy == row.policy);
                let stays = wanted.projects.values().any(|it| it.policy == row.policy);
                prop_assert!(stays || now.is_superset(&old), "an address went before its policy");
                prop_assert!(was_in_force || now == new, "an address came after its policy");
            }
        }
    }

    /// At any moment between two writes, an endpoint that a packet finds has a project that it finds.
    #[test]
    fn an_endpoint_never_stands_without_its_project(wanted in world(), actual in world()) {
        let (wanted, mut tables) = (compile(&wanted), compile(&actual));
        for write in diff(&wanted, &tables.clone()) {
            // In subnet mode and without a network too: every project in use has a row.
            tables.write(&write);
            let orphans = endpoints_without_project(&tables);
            let allowed: BTreeSet<u64> = endpoints_without_project(&wanted)
                .union(&endpoints_without_project(&compile(&actual)))
                .copied()
                .collect();
            prop_assert!(
                orphans.is_subset(&allowed),
                "after {:?}: no row of project {:?}", write, orphans
            );
        }
    }
}
