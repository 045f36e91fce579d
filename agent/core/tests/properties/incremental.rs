//! Changes taken one by one, each compiled in its scope alone, give the tables of a compile from scratch.

use std::sync::Arc;

use proptest::prelude::*;
use weft_core::compile::egress::Memo;
use weft_core::compile::{Part, Scope, Tables, compile, compile_scope};
use weft_core::diff::{Write, diff};
use weft_core::model::{Change, World};

use crate::changes::step;
use crate::worlds::{node, world};

/// What the sync loop does with a change: the rows of its scope before and after, and the writes between them; where
/// the scope is everything, the tables as they stand are the "before".
pub fn change(world: &mut World, tables: &mut Tables, memo: &Memo, change: Change) -> Vec<Write> {
    let scope = Scope::of(world, &change);
    let before = match scope {
        Scope::Everything => tables.clone(),
        Scope::Part(_) => compile_scope(world, &scope, memo),
    };
    world.take(change);
    let writes = diff(&compile_scope(world, &scope, memo), &before);
    for write in &writes {
        tables.write(write);
    }
    memo.shrink();
    writes
}

/// A world that takes each of another one's objects once.
fn anew(world: &World) -> World {
    let mut anew = World::new(world.node.clone());
    let hosts = world
        .hosts
        .iter()
        .map(|(name, it)| Change::HostSubnet(name.clone(), Some(it.clone())));
    let projects = world
        .projects
        .iter()
        .map(|(name, it)| Change::Project(name.clone(), Some(it.clone())));
    let endpoints = world
        .endpoints
        .iter()
        .map(|(id, it)| Change::Endpoint(id.clone(), Some(it.clone())));
    let policies = world.egress_policies.iter().flat_map(|(project, own)| {
        let change = |(name, it): (&String, &_)| {
            Change::EgressPolicy(project.clone(), name.clone(), Some(Arc::clone(it)))
        };
        own.iter().map(change).collect::<Vec<_>>()
    });
    let resolved = world
        .resolved
        .iter()
        .map(|(name, it)| Change::Resolved(name.clone(), it.clone()));
    let others = [
        Change::Overlay(world.overlay_ifindex),
        Change::ClusterNetwork(world.network.clone()),
        Change::EgressSettings(world.egress.clone()),
    ];
    let all = others
        .into_iter()
        .chain(hosts)
        .chain(projects)
        .chain(endpoints)
        .chain(policies)
        .chain(resolved);
    all.for_each(|change| anew.take(change));
    anew
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn one_by_one_equals_from_scratch(
        node in node(),
        start in proptest::option::of(world()),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = start.unwrap_or_else(|| World::new(node));
        let mut tables = compile(&world);
        let memo = Memo::default();
        for step in steps {
            let taken = step.change(&world);
            change(&mut world, &mut tables, &memo, taken.clone());
            prop_assert_eq!(&tables, &compile(&world), "after {:?}", taken);
        }
    }

    /// Several changes as one step, in the scope of all of them, as the policies of a project come.
    #[test]
    fn together_equals_from_scratch(
        world in world(),
        groups in prop::collection::vec(prop::collection::vec(step(), 1..5), 1..10),
    ) {
        let mut world = world;
        let mut tables = compile(&world);
        let memo = Memo::default();
        for group in groups {
            let mut part = Part::default();
            let mut after = world.clone();
            let mut everything = false;
            for step in group {
                let taken = step.change(&after);
                match Scope::of(&after, &taken) {
                    Scope::Part(more) => part.extend(more),
                    Scope::Everything => everything = true,
                }
                after.take(taken);
            }
            let scope = if everything { Scope::Everything } else { Scope::Part(part) };
            let before = if everything { tables.clone() } else { compile_scope(&world, &scope, &memo) };
            world = after;
            for write in diff(&compile_scope(&world, &scope, &memo), &before) {
                tables.write(&write);
            }
            prop_assert_eq!(&tables, &compile(&world), "in {:?}", scope);
        }
    }

    /// What is looked up in the world by something else than a name is what a world has that took the same objects once.
    #[test]
    fn a_world_remembers_nothing_of_what_is_gone(
        world in world(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = world;
        for step in steps {
            let taken = step.change(&world);
            let (before, back) = (world.clone(), world.undo(&taken));
            world.take(taken.clone());
            let mut undone = world.clone();
            undone.take(back);
            prop_assert_eq!(undone, before, "{:?} and back", taken);
        }
        prop_assert_eq!(&anew(&world), &world);
    }

    /// A pass that changes nothing writes nothing: the same object may come again at any time.
    #[test]
    fn a_change_that_changes_nothing_writes_nothing(
        world in world(),
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let mut world = world;
        let mut tables = compile(&world);
        let memo = Memo::default();
        for step in steps {
            let taken = step.change(&world);
            change(&mut world, &mut tables, &memo, taken.clone());
            let again = change(&mut world, &mut tables, &memo, taken.clone());
            prop_assert!(again.is_empty(), "{:?} came twice, then wrote {:?}", taken, again);
        }
    }
}
