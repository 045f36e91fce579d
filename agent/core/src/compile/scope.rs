//! What a change touches.

use crate::model::{Change, EndpointId, World};

/// The part of the world whose rows a change can alter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Any row.
    Everything,
    /// One project's row.
    Project(String),
    /// One endpoint's rows, and those of the projects it is or was in.
    Endpoint {
        /// The endpoint.
        id: EndpointId,
        /// Projects of its old and its new state.
        projects: Vec<String>,
    },
}

impl Scope {
    /// The scope of `change` to `world`, which has not taken it in yet.
    pub fn of(world: &World, change: &Change) -> Self {
        match change {
            Change::Project(name, _) => Self::Project(name.clone()),
            Change::Endpoint(id, new) => {
                let old = world.endpoints.get(id);
                let mut projects: Vec<_> = old
                    .into_iter()
                    .chain(new)
                    .map(|endpoint| endpoint.project.clone())
                    .collect();
                projects.dedup();
                Self::Endpoint {
                    id: id.clone(),
                    projects,
                }
            }
            // Rare, and each can alter every row: modes, networks, node addresses.
            Change::Node(_) | Change::Overlay(_) | Change::Network(_) | Change::Host(..) => {
                Self::Everything
            }
        }
    }
}
