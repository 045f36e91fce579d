use std::collections::BTreeMap;

use weft_core::model::{Action, Change, Destination, EgressRule};
use weft_ebpf::rows::egress::NO_POLICY;

use super::super::fixture::{project, world};
use super::*;

fn policy(world: &mut World, project: &str, policy: Arc<Policy>) -> u64 {
    let number = policy.number();
    world.take(Change::Policy(
        project.into(),
        "default".into(),
        Some(policy),
    ));
    number
}

fn deny(project: &str) -> Arc<Policy> {
    let rule = EgressRule {
        action: Action::Deny,
        to: Destination::Cidr("0.0.0.0/0".parse().unwrap()),
        ports: Vec::new(),
    };
    Policy::new(project, vec![rule])
}

/// The survey where the data path holds this policy for each project, or knows none of them.
fn surveyed(world: &World, refusals: &BTreeMap<String, String>, policy: Option<u64>) -> Vec<Found> {
    survey(world, refusals, |_| Ok(policy)).unwrap()
}

fn states(found: &[Found]) -> Vec<(&str, PolicyState)> {
    let states = found.iter().map(|one| (one.namespace.as_str(), one.state));
    states.collect()
}

#[test]
fn enforced_is_only_what_the_data_path_holds() {
    let mut world = world();
    let number = policy(&mut world, "shop", deny("shop"));
    let none = BTreeMap::new();
    for (row, state) in [
        (number, PolicyState::Enforced),
        (NO_POLICY, PolicyState::Pending),
        (POLICY_CLOSED, PolicyState::Closed),
        (number + 1, PolicyState::Pending),
    ] {
        let found = surveyed(&world, &none, Some(row));
        assert_eq!(states(&found), [("shop", state)], "policy {row}");
        let reason = found[0].reason.is_empty();
        assert_eq!(
            reason,
            state == PolicyState::Enforced,
            "{}",
            found[0].reason
        );
    }
    let missing = surveyed(&world, &none, None);
    assert_eq!(states(&missing), [("shop", PolicyState::Pending)]);
}

#[test]
fn a_policy_without_pods_is_not_local_and_no_problem() {
    let mut world = world();
    policy(&mut world, "away", deny("away"));
    let found = surveyed(&world, &BTreeMap::new(), None);
    assert_eq!(states(&found), [("away", PolicyState::NotLocal)]);
    assert_eq!(problems(&world, &found), []);
}

#[test]
fn a_refused_version_is_told_over_the_one_in_force() {
    let mut world = world();
    let number = policy(&mut world, "shop", deny("shop"));
    let refusals = [
        ("EgressNetworkPolicy/shop/default", "too large"),
        ("EgressNetworkPolicy/bank/first", "too large as well"),
        ("HostSubnet/node1", "is no policy"),
    ];
    let refusals = refusals.map(|(object, reason)| (object.into(), reason.into()));
    let found = surveyed(&world, &refusals.into(), Some(number));
    let refused = PolicyState::Refused;
    assert_eq!(states(&found), [("bank", refused), ("shop", refused)]);
    assert_eq!(found[1].reason, "too large");
    assert!(
        found[1].policy.is_some(),
        "the rules in force are still shown"
    );
    assert!(found[0].policy.is_none(), "there was no version before");
    // The sync loop tells them.
    assert_eq!(problems(&world, &found), []);
}

#[test]
fn what_is_not_in_force_is_one_problem_each() {
    let mut world = world();
    policy(&mut world, "shop", deny("shop"));
    project(&mut world, "bank", 10);
    let found = surveyed(&world, &BTreeMap::new(), Some(POLICY_CLOSED));
    assert_eq!(states(&found), [("shop", PolicyState::Closed)]);
    let objects: Vec<_> = problems(&world, &found)
        .into_iter()
        .map(|it| it.object)
        .collect();
    let wanted = ["EgressNetworkPolicy/shop/default", "NetNamespace/bank"];
    assert_eq!(objects, wanted, "the one without a policy is closed too");

    project(&mut world, "bank", 11);
    project(&mut world, "shop", 0);
    let found = surveyed(&world, &BTreeMap::new(), Some(NO_POLICY));
    assert_eq!(states(&found), [("shop", PolicyState::Ignored)]);
    let [problem] = &problems(&world, &found)[..] else {
        panic!("one problem");
    };
    assert!(problem.message.contains("global"), "{}", problem.message);
    let mut counted = PolicyCounts::default();
    counted.add(PolicyState::Ignored);
    assert_eq!(counts(&found), counted);
}

#[test]
fn an_invalid_policy_is_told_by_ingest_alone() {
    let mut world = world();
    policy(
        &mut world,
        "shop",
        Policy::invalid("spec.egress: bad".into()),
    );
    let found = surveyed(&world, &BTreeMap::new(), Some(POLICY_CLOSED));
    assert_eq!(states(&found), [("shop", PolicyState::Closed)]);
    assert!(
        found[0].reason.contains("spec.egress: bad"),
        "{}",
        found[0].reason
    );
    assert_eq!(problems(&world, &found), []);
}
