//! World -> tables.
//!
//! Each object of the world makes rows of its own, so a change is compiled alone: the rows of its [`Scope`] before and
//! after it, and their difference, are all that has to be written. A compile of everything gives the same tables.

mod cluster;
pub mod egress;
pub mod host;
pub mod iptables;
mod scope;
mod tables;

pub use scope::{Part, Scope};
pub use tables::{EgressPolicyTable, Tables, project_key};

use weft_ebpf::addr::Addr;
use weft_ebpf::rows::{EndpointRow, ProjectRow, VNID_CLOSED, VNID_MAX, egress::NO_POLICY};

use crate::model::{Endpoint, Mode, NamePattern, Vnid, World};
use egress::Memo;

// What the model calls a network's number, the rows have room for.
const _: () = assert!(Vnid::MAX.number() == VNID_MAX);

/// Compiles the whole world.
pub fn compile(world: &World) -> Tables {
    compile_scope(world, &Scope::Everything, &Memo::default())
}

/// Compiles the rows of one scope. The memo may be empty; it spares work done before.
pub fn compile_scope(world: &World, scope: &Scope, memo: &Memo) -> Tables {
    let mut tables = Tables {
        node: cluster::node_row(world),
        ..Tables::default()
    };
    match scope {
        Scope::Everything => {
            cluster::prefixes(world, &mut tables);
            cluster::trusted(world, &mut tables);
            for host in world.hosts.values() {
                cluster::host(world, host, &mut tables);
            }
            let known = world.projects.keys().map(String::as_str);
            for name in known.chain(world.local_projects()) {
                project(world, name, memo, &mut tables);
            }
            for it in world.endpoints.values() {
                endpoint(it, &mut tables);
            }
            let names = world.watched_names().map(NamePattern::name);
            egress::name_rows(world, names, &mut tables);
        }
        Scope::Part(part) => {
            if part.prefixes {
                cluster::prefixes(world, &mut tables);
            }
            if part.trusted {
                cluster::trusted(world, &mut tables);
            }
            for host in part.hosts.iter().filter_map(|name| world.hosts.get(name)) {
                cluster::host(world, host, &mut tables);
            }
            for name in &part.projects {
                project(world, name, memo, &mut tables);
            }
            let endpoints = part.endpoints.iter();
            for it in endpoints.filter_map(|id| world.endpoints.get(id)) {
                endpoint(it, &mut tables);
            }
            egress::name_rows(world, part.names.iter(), &mut tables);
        }
    }
    tables
}

/// A project has a row when it is known, or when a local pod belongs to it: closed then, unless the mode knows no
/// isolation. Its egress policy has rows only where a pod of it is.
fn project(world: &World, name: &str, memo: &Memo, tables: &mut Tables) {
    let local = world.is_local(name);
    let mode = world.network.as_ref().map(|network| network.mode);
    let vnid = match (mode, world.projects.get(name)) {
        (Some(Mode::Multitenant), Some(project)) => project.vnid.number(),
        (Some(Mode::Subnet), _) if local => 0,
        (_, None) if local => VNID_CLOSED,
        _ => return,
    };
    let (policy, flags) = if local {
        egress::project_rows(world, name, memo, tables)
    } else {
        (NO_POLICY, 0)
    };
    tables.projects.insert(
        project_key(name),
        ProjectRow {
            policy,
            vnid,
            flags,
        },
    );
}

fn endpoint(endpoint: &Endpoint, tables: &mut Tables) {
    let project = project_key(&endpoint.project);
    tables.senders.insert(endpoint.host_ifindex, project);
    for address in &endpoint.addresses {
        tables.endpoints.insert(
            Addr::from(*address),
            EndpointRow {
                project,
                ifindex: endpoint.host_ifindex,
                mac: endpoint.mac,
                flags: 0,
                reserved: 0,
            },
        );
    }
}
