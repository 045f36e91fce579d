//! What of the egress firewall a project has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::NameRow;
use weft_ebpf::rows::egress::{
    NO_POLICY, POLICY_CLOSED, RuleKey, RuleRow, project_flag, rule_kind,
};

use super::{EgressPolicyTable, Memo, name_key, name_number};
use crate::compile::Tables;
use crate::model::{DnsName, EgressPolicy, EgressState, NamePattern, World};

/// Adds the rows of a project's policy, and answers number and flags for the project's own row.
pub(crate) fn project_rows(
    world: &World,
    project: &str,
    memo: &Memo,
    tables: &mut Tables,
) -> (u64, u32) {
    match world.egress_state(project) {
        EgressState::Open | EgressState::Ignored(_) => (NO_POLICY, 0),
        EgressState::Closed(_) => (POLICY_CLOSED, 0),
        EgressState::InForce(policy) => match memo.table(&policy) {
            // One that does not fit is refused before it comes here, unless it is all that is known.
            Err(_) => (POLICY_CLOSED, 0),
            Ok(table) => {
                let (number, flags) = (policy.number(), table.flags());
                if flags & project_flag::NAMES != 0 {
                    resolved(world, &policy, &table, tables);
                }
                tables.egress_policies.insert(number, table);
                (number, flags)
            }
        },
    }
}

/// Rows of the addresses that the agent has resolved for the policy's names.
fn resolved(world: &World, policy: &EgressPolicy, table: &EgressPolicyTable, tables: &mut Tables) {
    for pattern in policy.names() {
        let Some(addresses) = world.resolved.get(pattern) else {
            continue;
        };
        let name = name_number(pattern);
        for class in table.classes() {
            let key = RuleKey::name(policy.number(), class, name);
            let Some(rule) = table.rules.get(&key).copied() else {
                continue;
            };
            if rule == RuleRow::NONE {
                continue;
            }
            for address in addresses {
                let key = address_key(policy.number(), class, *address);
                let row = tables.resolved.entry(key).or_insert(rule);
                if rule.rank < row.rank {
                    *row = rule;
                }
            }
        }
    }
}

fn address_key(policy: u64, class: u32, address: IpAddr) -> RuleKey {
    RuleKey {
        policy,
        class,
        kind: rule_kind::ADDRESS,
        value: Addr::from(address),
    }
}

/// Adds the rows of names that policies of local projects watch.
pub(crate) fn name_rows<'a>(
    world: &World,
    names: impl Iterator<Item = &'a DnsName>,
    tables: &mut Tables,
) {
    let watched = |pattern: NamePattern| {
        if world.is_watched(&pattern) {
            name_number(&pattern)
        } else {
            0
        }
    };
    let rows: BTreeMap<_, _> = names
        .map(|name| {
            let row = NameRow {
                exact: watched(NamePattern::Exact(name.clone())),
                below: watched(NamePattern::Below(name.clone())),
            };
            (name_key(name), row)
        })
        .filter(|(_, row)| *row != NameRow::default())
        .collect();
    tables.names.extend(rows);
}
