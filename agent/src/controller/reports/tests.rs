use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use weft_core::model::Conflicts;

use super::condition::{Wanted, wanted};
use super::event::event;
use super::judge::Judge;
use super::pace::{May, Pace};
use crate::store::{Delta, Object, ObjectRef};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn put(value: Value) -> Delta {
    Delta::Put(Arc::new(Object::from_value(value).unwrap()))
}

fn network(plugin: &str) -> Delta {
    put(json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
        "pluginName": plugin,
    }))
}

fn project(name: &str, netid: u32) -> Delta {
    put(
        json!({"apiVersion": "network.openshift.io/v1", "kind": "NetNamespace", "metadata": {"name": name},
               "netname": name, "netid": netid}),
    )
}

fn policy_object(project: &str, egress: &Value, generation: u64) -> Object {
    Object::from_value(json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "p", "namespace": project, "uid": "u", "generation": generation},
        "spec": {"egress": egress},
    }))
    .unwrap()
}

fn policy(project: &str, egress: &Value) -> Delta {
    Delta::Put(Arc::new(policy_object(project, egress, 1)))
}

fn rules(range: &str) -> Value {
    json!([{"type": "Deny", "to": {"cidrSelector": range}}])
}

fn key(project: &str) -> ObjectRef {
    policy_object(project, &json!([]), 1).key
}

/// Status and reason of the policy of project `a`.
fn verdict(conflicts: Conflicts, deltas: Vec<Delta>) -> (&'static str, &'static str) {
    let mut judge = Judge::new(conflicts);
    judge.take(deltas);
    let verdict = judge.verdict(&key("a")).unwrap();
    (verdict.status.name(), verdict.reason)
}

#[test]
fn the_verdict_is_what_the_agents_do() {
    let of = |deltas| verdict(Conflicts::Drop, deltas);
    let good = || policy("a", &rules("192.0.2.0/24"));
    let multitenant = || network("multitenant");
    assert_eq!(of(vec![good()]), ("Unknown", "NoClusterNetwork"));
    assert_eq!(of(vec![multitenant(), good()]), ("Unknown", "NoNetwork"));
    assert_eq!(
        of(vec![multitenant(), project("a", 7), good()]),
        ("True", "InForce")
    );
    assert_eq!(of(vec![network("subnet"), good()]), ("False", "SubnetMode"));
    let broken = policy("a", &rules("192.0.2.1/24"));
    assert_eq!(
        of(vec![multitenant(), project("a", 7), broken]),
        ("False", "Invalid")
    );
    // Wants more rows than the data path has: each class of ports takes all the rules without ports.
    let lengths: Vec<_> = (0..=128)
        .map(|length| json!({"type": "Deny", "to": {"cidrSelector": format!("::/{length}")}}))
        .collect();
    assert_eq!(
        of(vec![
            multitenant(),
            project("a", 7),
            policy("a", &json!(lengths))
        ]),
        ("False", "TooLarge")
    );
    for (netid, reason) in [(0, "GlobalProject"), (7, "JoinedProject")] {
        let world = || {
            vec![
                multitenant(),
                project("a", netid),
                project("b", netid),
                good(),
            ]
        };
        assert_eq!(of(world()), ("False", reason));
        assert_eq!(verdict(Conflicts::Enforce, world()), ("True", "InForce"));
    }
}

fn judged(object: &Object, egress: &Value, more: Vec<Delta>) -> Option<Wanted> {
    let mut judge = Judge::new(Conflicts::Drop);
    let deltas = vec![network("multitenant"), project("a", 7), policy("a", egress)];
    judge.take(deltas);
    judge.take(more);
    wanted(object, &judge.verdict(&object.key).unwrap(), NOW)
}

#[test]
fn a_status_is_written_once_and_an_event_made_at_a_transition() {
    let (good, bad) = (rules("192.0.2.0/24"), rules("192.0.2.1/24"));
    let first = judged(&policy_object("a", &bad, 1), &bad, vec![]).unwrap();
    let name = event(&first.object, first.news.as_ref().unwrap(), "me", NOW)
        .unwrap()
        .key
        .name;
    let condition = &first.object.value["status"]["conditions"][0];
    assert_eq!(
        (&condition["status"], &condition["observedGeneration"]),
        (&json!("False"), &json!(1))
    );
    assert!(
        judged(&first.object, &bad, vec![]).is_none(),
        "it says so already"
    );
    let repeated = judged(&policy_object("a", &bad, 1), &bad, vec![]).unwrap();
    let again = event(
        &repeated.object,
        repeated.news.as_ref().unwrap(),
        "other",
        SystemTime::now(),
    )
    .unwrap();
    assert_eq!(
        again.key.name, name,
        "the same news after a crash is the same event"
    );

    // Mended, by a writer who left the status as it was.
    let mut object = policy_object("a", &good, 2);
    object.set_field("status", first.object.value["status"].clone());
    let mended = judged(&object, &good, vec![]).unwrap();
    assert!(mended.news.is_some());
    // Another text of it: the generation follows, and nobody is told.
    let mut object = policy_object("a", &good, 3);
    object.set_field("status", mended.object.value["status"].clone());
    let edited = judged(&object, &good, vec![]).unwrap();
    assert_eq!(edited.news, None);
    let times =
        |it: &Wanted| it.object.value["status"]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(times(&edited), times(&mended));
    // Joined with one project, then with another that comes before it: the same, in other words.
    let joined = judged(&edited.object, &good, vec![project("z", 7)]).unwrap();
    assert!(joined.news.is_some());
    let other = judged(
        &joined.object,
        &good,
        vec![project("z", 7), project("c", 7)],
    );
    assert_eq!(other.unwrap().news, None);
}

#[test]
fn a_cluster_network_that_no_agent_can_take_is_told() {
    let of = |judge: &Judge| {
        let verdict = judge.verdict(&ObjectRef::cluster_network()).unwrap();
        (verdict.status.name(), verdict.reason, verdict.message)
    };
    let mut fresh = Judge::new(Conflicts::Drop);
    fresh.take(vec![network("networkpolicy")]);
    let (status, reason, message) = of(&fresh);
    assert_eq!((status, reason), ("False", "Invalid"));
    assert!(
        message.contains("pluginName") && message.contains("agents that had one before keep it"),
        "{message}"
    );

    let mut judge = Judge::new(Conflicts::Drop);
    judge.take(vec![network("multitenant")]);
    assert_eq!(of(&judge).1, "Accepted");
    judge.take(vec![network("networkpolicy")]);
    let (status, _, message) = of(&judge);
    assert_eq!(status, "False");
    assert!(
        message.contains("the last good one stays in force") && !message.contains("restarted"),
        "{message}"
    );
    assert!(
        judge
            .objects()
            .any(|(it, _)| it.key == ObjectRef::cluster_network()),
        "it is looked at"
    );
}

#[test]
fn an_object_that_goes_is_left_alone() {
    let good = rules("192.0.2.0/24");
    let mut object = policy_object("a", &good, 1);
    object.value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert!(judged(&object, &good, vec![]).is_none());
}

#[test]
fn events_keep_to_the_limits_of_the_server() {
    let mut object = policy_object("a", &json!([]), 1);
    object.key.name = format!("{}.b", "a".repeat(240));
    let news = super::News::warning("Invalid", "é".repeat(2_000), String::new());
    let event = event(&object, &news, &"m".repeat(300), NOW).unwrap();
    assert!(event.key.name.len() <= 253 && weft_core::model::check_name(&event.key.name).is_ok());
    assert_eq!(event.value["note"].as_str().unwrap().len(), 1_024);
    assert_eq!(
        event.value["reportingInstance"].as_str().unwrap().len(),
        128
    );
}

#[test]
fn writes_come_in_a_burst_and_then_slowly() {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    let mut keys = (0..).map(|n| key(&format!("p{n}")));
    let mut many = |now| {
        (0..200)
            .filter(|_| pace.may(&keys.next().unwrap(), ("x", "x"), now) == May::Write)
            .count()
    };
    assert_eq!(many(start), 50);
    assert_eq!(many(start + Duration::from_secs(1)), 10);
    assert_eq!(
        many(start + Duration::from_hours(1)),
        50,
        "no more than at the start"
    );
}

#[test]
fn nodes_that_come_and_go_are_told_every_ten_seconds() {
    let (start, key) = (Instant::now(), key("a"));
    let mut pace = Pace::new(start);
    pace.wrote(&key, ("1 behind".into(), "x".into()), start);
    let mut at = |seconds, told| pace.may(&key, told, start + Duration::from_secs(seconds));
    assert_eq!(at(9, ("2 behind", "x")), May::Later);
    assert_eq!(at(9, ("2 behind", "y")), May::Write, "another verdict");
    assert_eq!(at(10, ("2 behind", "x")), May::Write);
}

#[test]
fn what_somebody_undoes_is_written_ever_more_rarely() {
    let (start, key) = (Instant::now(), key("a"));
    let mut pace = Pace::new(start);
    let mut times = Vec::new();
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        if matches!(pace.may(&key, ("x", "x"), now), May::Write | May::Again) {
            pace.wrote(&key, ("x".into(), "x".into()), now);
            times.push(second);
        }
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63]);
    let now = start + Duration::from_secs(100);
    assert_eq!(
        pace.may(&key, ("y", "y"), now),
        May::Write,
        "another verdict does not wait"
    );
}
