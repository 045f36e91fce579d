//! Whether rows fit their maps, found out before any is written.

use weft_core::compile::Tables;
use weft_core::compile::egress::PolicyTable;
use weft_core::diff::{PolicyWrite, Write};
use weft_ebpf::rows::{TABLE_CAPACITY, dns, egress};

use super::kernel::KernelError;

/// Checks every map's size after the writes.
pub(super) fn check(mirror: &Tables, writes: &[Write]) -> Result<(), KernelError> {
    // Far from the limit the exact sum does not matter, and a copy of the tables is not worth it.
    let more: usize = writes.iter().map(weight).sum();
    if sizes(mirror)
        .iter()
        .all(|(_, rows, room)| rows + more <= *room)
    {
        return Ok(());
    }
    let mut after = mirror.clone();
    // Nothing is removed before all is put, save endpoints.
    for write in writes {
        if !removes(write) {
            after.write(write);
        }
    }
    let sizes = sizes(&after).into_iter();
    match sizes.into_iter().find(|(_, rows, room)| rows > room) {
        Some((table, rows, room)) => Err(KernelError::Full { table, rows, room }),
        None => Ok(()),
    }
}

fn removes(write: &Write) -> bool {
    matches!(
        write,
        Write::Policy(PolicyWrite { new: None, .. })
            | Write::Prefix(_, None)
            | Write::Subnet(_, None)
            | Write::Peer(_, None)
            | Write::Project(_, None)
            | Write::Sender(_, None)
            | Write::Resolved(_, None)
            | Write::Name(_, None)
            | Write::Trusted(_, None)
    )
}

/// Rows that a write can add to any one map.
fn weight(write: &Write) -> usize {
    match write {
        Write::Policy(PolicyWrite {
            new: Some(table), ..
        }) => table.rules.len().max(table.ports.len()),
        _ => 1,
    }
}

/// Rows of each map, and how many it can hold.
fn sizes(t: &Tables) -> [(&'static str, usize, usize); 12] {
    let policies = |rows: fn(&PolicyTable) -> usize| t.policies.values().map(|it| rows(it)).sum();
    let sized = |name, rows, room: u32| (name, rows, room as usize);
    [
        sized("PREFIXES", t.prefixes.len(), TABLE_CAPACITY),
        sized("SUBNETS", t.subnets.len(), TABLE_CAPACITY),
        sized("PEERS", t.peers.len(), TABLE_CAPACITY),
        sized("PROJECTS", t.projects.len(), TABLE_CAPACITY),
        sized("SENDERS", t.senders.len(), TABLE_CAPACITY),
        sized("ENDPOINTS", t.endpoints.len(), TABLE_CAPACITY),
        sized(
            egress::map::RULES,
            policies(|it| it.rules.len()),
            egress::RULES_CAPACITY,
        ),
        sized(
            egress::map::SEARCHES,
            policies(|it| it.searches.len()),
            TABLE_CAPACITY,
        ),
        sized(
            egress::map::PORTS,
            policies(|it| it.ports.len()),
            egress::PORTS_CAPACITY,
        ),
        sized(
            egress::map::RESOLVED,
            t.resolved.len(),
            egress::RESOLVED_CAPACITY,
        ),
        sized(dns::map::NAMES, t.names.len(), dns::NAMES_CAPACITY),
        sized(dns::map::TRUSTED, t.trusted.len(), dns::NAMES_CAPACITY),
    ]
}
