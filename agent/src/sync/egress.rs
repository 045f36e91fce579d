//! Tells the log when a project's egress policies begin or cease to count.

use std::collections::BTreeMap;

use weft_core::model::{EgressState, World};

/// Projects whose policies are not in force, with the reason that was told.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<String, String>);

impl Told {
    /// Looks at some projects.
    pub fn look<'a>(&mut self, world: &World, projects: impl Iterator<Item = &'a str>) {
        for project in projects {
            self.look_at(world, project);
        }
    }

    /// Looks at every project that has a policy, or had one when it was told of.
    pub fn look_at_all(&mut self, world: &World) {
        let gone: Vec<_> = self.0.keys().cloned().collect();
        for project in gone.iter().chain(world.egress_policies.keys()) {
            self.look_at(world, project);
        }
    }

    /// One line for each change, none for what was told.
    fn look_at(&mut self, world: &World, project: &str) {
        let (state, reason) = match world.egress_state(project) {
            EgressState::Ignored(reason) => ("Ignored", reason),
            EgressState::Closed(reason) => ("Closed", reason),
            EgressState::Open | EgressState::InForce(_) => {
                if self.0.remove(project).is_some() {
                    tracing::info!(%project, "no egress policy of the project is out of force any more");
                }
                return;
            }
        };
        if self.0.get(project) == Some(&reason) {
            return;
        }
        let policies = world.egress_policies.get(project).into_iter().flatten();
        let policies: Vec<_> = policies.map(|(name, _)| name.as_str()).collect();
        tracing::warn!(%project, ?policies, %state, %reason, "egress policy not in force");
        self.0.insert(project.to_owned(), reason);
    }
}
