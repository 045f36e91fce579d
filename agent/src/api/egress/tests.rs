use std::collections::BTreeMap;

use weft_core::model::{Action, Change, Destination, EgressRule, NetworkEntry};
use weft_ebpf::rows::egress::NO_POLICY;

use super::super::fixture::{project, world};
use super::*;

fn policy(world: &mut World, project: &str, policy: Arc<Policy>) -> u64 {
    let number = policy.number();
    world.take(Change::EgressPolicy(
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
fn surveyed(
    world: &World,
    refusals: &BTreeMap<Subject, Refusal>,
    policy: Option<u64>,
) -> Vec<Found> {
    survey(world, refusals, |_| Ok(policy)).unwrap()
}

fn refusal(object: ObjectRef, message: &str, everywhere: bool) -> (Subject, Refusal) {
    let message = message.into();
    (
        object.into(),
        Refusal {
            message,
            everywhere,
        },
    )
}

fn states(found: &[Found]) -> Vec<(&str, EgressPolicyState)> {
    let states = found
        .iter()
        .map(|one| (one.object.namespace.as_str(), one.state));
    states.collect()
}

#[test]
fn enforced_is_only_what_the_data_path_holds() {
    let mut world = world();
    let number = policy(&mut world, "shop", deny("shop"));
    let none = BTreeMap::new();
    for (row, state) in [
        (number, EgressPolicyState::Enforced),
        (NO_POLICY, EgressPolicyState::Pending),
        (POLICY_CLOSED, EgressPolicyState::Closed),
        (number + 1, EgressPolicyState::Pending),
    ] {
        let found = surveyed(&world, &none, Some(row));
        assert_eq!(states(&found), [("shop", state)], "policy {row}");
        let reason = found[0].reason.is_empty();
        assert_eq!(
            reason,
            state == EgressPolicyState::Enforced,
            "{}",
            found[0].reason
        );
    }
    let missing = surveyed(&world, &none, None);
    assert_eq!(states(&missing), [("shop", EgressPolicyState::Pending)]);
}

#[test]
fn a_policy_without_pods_is_not_local_and_no_problem() {
    let mut world = world();
    policy(&mut world, "away", deny("away"));
    let found = surveyed(&world, &BTreeMap::new(), None);
    assert_eq!(states(&found), [("away", EgressPolicyState::NotLocal)]);
    assert_eq!(problems(&world, &found), []);
}

#[test]
fn a_refused_version_is_told_over_the_one_in_force() {
    let mut world = world();
    let number = policy(&mut world, "shop", deny("shop"));
    let refusals = [
        (ObjectRef::egress_policy("shop", "default"), "too large"),
        (
            ObjectRef::egress_policy("bank", "first"),
            "too large as well",
        ),
        (
            ObjectRef::cluster(Kind::HostSubnet, "node1"),
            "is no policy",
        ),
    ];
    let refusals = refusals.map(|(object, message)| refusal(object, message, false));
    let found = surveyed(&world, &refusals.into(), Some(number));
    let refused = EgressPolicyState::Refused;
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
    assert_eq!(states(&found), [("shop", EgressPolicyState::Closed)]);
    let objects: Vec<_> = problems(&world, &found)
        .into_iter()
        .map(|it| it.object.to_string())
        .collect();
    let wanted = ["EgressNetworkPolicy/shop/default", "NetNamespace/bank"];
    assert_eq!(objects, wanted, "the one without a policy is closed too");

    project(&mut world, "bank", 11);
    project(&mut world, "shop", 0);
    let found = surveyed(&world, &BTreeMap::new(), Some(NO_POLICY));
    assert_eq!(states(&found), [("shop", EgressPolicyState::Ignored)]);
    let [problem] = &problems(&world, &found)[..] else {
        panic!("one problem");
    };
    assert!(problem.message.contains("global"), "{}", problem.message);
    let mut counted = EgressPolicyCounts::default();
    counted.add(EgressPolicyState::Ignored);
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
    assert_eq!(states(&found), [("shop", EgressPolicyState::Closed)]);
    assert!(
        found[0].reason.contains("spec.egress: bad"),
        "{}",
        found[0].reason
    );
    assert_eq!(problems(&world, &found), []);
}

/// What no rule matches is allowed: a policy that is meant to deny all denies half where pods have both families.
#[test]
fn a_policy_that_denies_all_of_one_family_leaves_the_other_open() {
    let mut world = world();
    let rule = |action, to: &str| EgressRule {
        action,
        to: Destination::Cidr(to.parse().unwrap()),
        ports: Vec::new(),
    };
    let [v4, v6] = ["0.0.0.0/0", "::/0"];
    let some = "2001:db8::/32";
    let networks = |world: &mut World, cidrs: &[&str]| {
        let mut network = world.network.clone().unwrap();
        let entry = |cidr: &&str| NetworkEntry {
            cidr: cidr.parse().unwrap(),
            host_bits: 8,
        };
        network.networks = cidrs.iter().map(entry).collect();
        world.take(Change::ClusterNetwork(Some(network)));
    };
    let both = &["10.128.0.0/14", "fd01::/48"][..];
    let cases = [
        (both, vec![rule(Action::Deny, v4)], Some(v6)),
        (both, vec![rule(Action::Deny, v6)], Some(v4)),
        (
            both,
            vec![rule(Action::Deny, some), rule(Action::Deny, v4)],
            Some(v6),
        ),
        (
            both,
            vec![rule(Action::Deny, v4), rule(Action::Deny, v6)],
            None,
        ),
        // Somebody thought of it.
        (
            both,
            vec![rule(Action::Allow, v6), rule(Action::Deny, v4)],
            None,
        ),
        (both, vec![rule(Action::Deny, some)], None),
        (both, vec![rule(Action::Allow, v4)], None),
        (&["10.128.0.0/14"], vec![rule(Action::Deny, v4)], None),
        (&["fd01::/48"], vec![rule(Action::Deny, v4)], Some(v6)),
    ];
    let none = BTreeMap::new();
    for (cidrs, rules, open) in cases {
        networks(&mut world, cidrs);
        let what = format!("{cidrs:?} {rules:?}");
        let number = policy(&mut world, "shop", Policy::new("shop", rules));
        let found = surveyed(&world, &none, Some(number));
        let warnings = warnings(&found);
        assert_eq!(warnings.len(), usize::from(open.is_some()), "{what}");
        assert_eq!(found[0].warning.is_some(), open.is_some(), "{what}");
        for (warning, open) in warnings.iter().zip(open) {
            assert_eq!(
                warning.object.to_string(),
                "EgressNetworkPolicy/shop/default"
            );
            let told = warning.message.contains(&format!("no rule for {open}:"));
            assert!(told, "{what}: {warning:?}");
        }
        // Not a word of rules that do not count.
        assert_eq!(problems(&world, &found), [], "{what}");
        project(&mut world, "shop", 0);
        let ignored = surveyed(&world, &none, Some(number));
        assert_eq!(ignored[0].warning, None, "{what}");
        project(&mut world, "shop", 10);
    }
}

/// Those that the node does not enforce, where the data path holds this policy for each project.
fn names(
    world: &World,
    refusals: &BTreeMap<Subject, Refusal>,
    policy: Option<u64>,
) -> Vec<(String, String)> {
    let found = unenforced(world, refusals, |_| Ok(policy)).unwrap();
    let named = found.into_iter().map(|it| (it.object.namespace, it.reason));
    named.collect()
}

#[test]
fn not_enforced_is_what_is_valid_and_not_held() {
    let mut world = world();
    let none = BTreeMap::new();
    assert_eq!(names(&world, &none, Some(NO_POLICY)), [], "no policy");
    let number = policy(&mut world, "shop", deny("shop"));
    policy(&mut world, "away", deny("away"));
    policy(&mut world, "bank", Policy::invalid("broken".into()));
    assert_eq!(names(&world, &none, Some(number)), []);
    for held in [None, Some(NO_POLICY), Some(POLICY_CLOSED), Some(number + 1)] {
        let told = names(&world, &none, held);
        assert_eq!(told, [("shop".into(), PENDING.into())], "{held:?}");
    }
    // Of projects whose policies do not count nothing is expected.
    project(&mut world, "shop", 0);
    assert_eq!(names(&world, &none, None), []);
}

#[test]
fn a_refused_policy_is_not_enforced_unless_every_node_refuses_it() {
    let mut world = world();
    let number = policy(&mut world, "shop", deny("shop"));
    // What the sync loop puts in the place of one that was refused and had none before it.
    policy(&mut world, "bank", Policy::invalid("no room".into()));
    let told = |everywhere| {
        let refusals = ["away", "bank", "shop"].map(|project| {
            let object = ObjectRef::egress_policy(project, "default");
            refusal(object, "no room", everywhere)
        });
        names(&world, &refusals.into(), Some(number))
    };
    let expected = ["bank", "shop"].map(|project| (project.into(), "no room".into()));
    assert_eq!(told(false), expected);
    assert_eq!(told(true), []);
}

#[test]
fn a_policy_that_fits_no_node_is_not_told_of_this_one() {
    let mut world = world();
    // More prefix lengths than a search goes through.
    let rules = (0..=128).map(|length| EgressRule {
        action: Action::Deny,
        to: Destination::Cidr(format!("::/{length}").parse().unwrap()),
        ports: Vec::new(),
    });
    let unfit = Policy::new("shop", rules.collect());
    assert!(Memo::default().table(&unfit).is_err());
    policy(&mut world, "shop", unfit);
    assert_eq!(names(&world, &BTreeMap::new(), Some(POLICY_CLOSED)), []);
}
