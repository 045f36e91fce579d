//! When a policy takes force, and what of it is told.

use std::sync::Arc;

use serde_json::json;
use weft_core::model::{Change, EgressState, LocalNode, World};

use super::super::super::Intake;
use super::super::{network, project};
use super::to;
use crate::store::{Delta, Object, ObjectRef};

fn put(object: Object) -> Delta {
    Delta::Put(Arc::new(object))
}

fn gone(name: &str) -> Delta {
    Delta::Gone(ObjectRef {
        namespace: "a".into(),
        ..ObjectRef::cluster("EgressNetworkPolicy", name)
    })
}

fn told(intake: &Intake) -> String {
    let problems = intake.problems();
    let lines = problems
        .iter()
        .map(|p| format!("{}: {}", p.object, p.message));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a project may send must be known before it may send at all.
#[test]
fn a_policy_is_told_before_its_project() {
    let mut intake = Intake::default();
    let changes = intake.take(vec![
        put(project("a", 7)),
        put(to(&json!({"cidrSelector": "10.0.0.0/8"}))),
        put(network()),
    ]);
    assert!(
        matches!(
            &changes[..],
            [
                Change::ClusterNetwork(Some(_)),
                Change::EgressPolicy(project, name, Some(_)),
                Change::Project(_, Some(_))
            ] if project == "a" && name == "default"
        ),
        "{changes:?}"
    );
}

#[test]
fn only_real_differences_of_policies_are_told() {
    let mut intake = Intake::default();
    let selector = json!({"cidrSelector": "10.0.0.0/8"});
    assert_eq!(intake.take(vec![put(to(&selector))]).len(), 1);
    assert_eq!(intake.take(vec![put(to(&selector))]), []);
    let mut annotated = to(&selector);
    annotated.set_annotation("x", Some("y"));
    assert_eq!(intake.take(vec![put(annotated)]), []);
    let wider = to(&json!({"cidrSelector": "10.0.0.0/7"}));
    assert_eq!(intake.take(vec![put(wider)]).len(), 1);
    let changes = intake.take(vec![gone("default")]);
    assert_eq!(
        changes,
        [Change::EgressPolicy("a".into(), "default".into(), None)]
    );
    assert_eq!(intake.take(vec![gone("default")]), []);
    assert_eq!(told(&intake), "");
}

/// An edit that cannot be understood may have been meant to forbid something: it closes, and says so until it is mended.
#[test]
fn an_invalid_policy_closes_its_project() {
    let mut intake = Intake::default();
    let mut world = World::new(LocalNode {
        name: "n1".into(),
        ip: [192, 0, 2, 1].into(),
        addresses: Vec::new(),
    });
    let mut take = |intake: &mut Intake, deltas| {
        let changes = intake.take(deltas);
        for change in changes {
            world.take(change);
        }
        world.egress_state("a")
    };
    let good = to(&json!({"cidrSelector": "10.0.0.0/8"}));
    let state = take(
        &mut intake,
        vec![put(network()), put(project("a", 7)), put(good.clone())],
    );
    assert!(matches!(state, EgressState::InForce(_)), "{state:?}");

    let bad = to(&json!({"cidrSelector": "10.0.0.1/8"}));
    let state = take(&mut intake, vec![put(bad)]);
    assert!(
        matches!(&state, EgressState::Closed(reason) if reason.contains("spec.egress[0].to.cidrSelector")),
        "{state:?}"
    );
    let problem = told(&intake);
    assert!(
        problem.starts_with("EgressNetworkPolicy/a/default: spec.egress[0].to.cidrSelector"),
        "{problem}"
    );
    assert!(
        problem.contains("nothing of the project leaves the cluster"),
        "{problem}"
    );

    let mut second = good.clone();
    second.key.name = "more".into();
    let state = take(&mut intake, vec![put(good), put(second)]);
    assert_eq!(told(&intake), "", "each of them is good");
    assert!(
        matches!(&state, EgressState::Closed(reason) if reason.contains("default, more")),
        "{state:?}"
    );
    let state = take(&mut intake, vec![gone("default")]);
    assert!(matches!(state, EgressState::InForce(_)), "{state:?}");
    assert_eq!(take(&mut intake, vec![gone("more")]), EgressState::Open);
}

#[test]
fn a_policy_of_no_project_is_pointed_out() {
    let mut intake = Intake::default();
    let mut object = to(&json!({"cidrSelector": "10.0.0.0/8"}));
    object.key.namespace = String::new();
    assert_eq!(intake.take(vec![put(object)]), []);
    assert!(
        told(&intake).contains("metadata.namespace: is missing"),
        "{}",
        told(&intake)
    );
}
