//! World -> tables.
//!
//! Each object of the world makes rows of its own, so a change is compiled alone: the rows of its [`Scope`] before and
//! after it, and their difference, are all that has to be written. A compile of everything gives the same tables.

mod cluster;
pub mod host;
pub mod iptables;
mod scope;
mod tables;

pub use scope::Scope;
pub use tables::{Tables, project_key};

use weft_ebpf::addr::Addr;
use weft_ebpf::rows::{EndpointRow, ProjectRow, VNID_CLOSED};

use crate::model::{Endpoint, Mode, World};

/// Compiles the whole world.
pub fn compile(world: &World) -> Tables {
    compile_scope(world, &Scope::Everything)
}

/// Compiles the rows of one scope.
pub fn compile_scope(world: &World, scope: &Scope) -> Tables {
    let mut tables = Tables::default();
    match scope {
        Scope::Everything => {
            cluster::compile(world, &mut tables);
            for name in world.projects.keys() {
                project(world, name, &mut tables);
            }
            for it in world.endpoints.values() {
                endpoint(it, &mut tables);
                project(world, &it.project, &mut tables);
            }
        }
        Scope::Project(name) => project(world, name, &mut tables),
        Scope::Endpoint { id, projects } => {
            if let Some(it) = world.endpoints.get(id) {
                endpoint(it, &mut tables);
            }
            for name in projects {
                project(world, name, &mut tables);
            }
        }
    }
    tables
}

/// A project has a row when it is known, or when a local pod belongs to it: closed then, unless the mode knows no
/// isolation.
fn project(world: &World, name: &str, tables: &mut Tables) {
    let in_use = || {
        world
            .endpoints
            .values()
            .any(|endpoint| endpoint.project == name)
    };
    let mode = world.network.as_ref().map(|network| network.mode);
    let vnid = match (mode, world.projects.get(name)) {
        (Some(Mode::Multitenant), Some(project)) => project.vnid.number(),
        (Some(Mode::Subnet), _) if in_use() => 0,
        (_, None) if in_use() => VNID_CLOSED,
        _ => return,
    };
    tables
        .projects
        .insert(project_key(name), ProjectRow { vnid });
}

fn endpoint(endpoint: &Endpoint, tables: &mut Tables) {
    for address in &endpoint.addresses {
        tables.endpoints.insert(
            Addr::from(*address),
            EndpointRow {
                project: project_key(&endpoint.project),
                ifindex: endpoint.host_ifindex,
                mac: endpoint.mac,
                flags: 0,
                reserved: 0,
            },
        );
    }
}
