//! Changes taken one by one, each compiled in its scope alone, give the tables of a compile from scratch.

use proptest::prelude::*;
use weft_core::compile::egress::Memo;
use weft_core::compile::{Scope, Tables, compile, compile_scope};
use weft_core::diff::{Write, diff};
use weft_core::model::{Change, World};

use crate::changes::step;
use crate::worlds::{node, world};

/// What the sync loop does with a change: the rows of its scope before and after, and the writes between them; where
/// the scope is everything, the tables as they stand are the "before".
fn change(world: &mut World, tables: &mut Tables, memo: &Memo, change: Change) -> Vec<Write> {
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
