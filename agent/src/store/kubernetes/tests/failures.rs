use std::time::{Duration, SystemTime};

use weft_core::model::Kind;

use super::super::failures::{Cause, Failures};
use super::super::kinds;
use crate::store::Reader;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn messages(failures: &Failures) -> Vec<String> {
    let problems = failures.problems().into_iter();
    problems
        .map(|problem| format!("{}: {}", problem.object, problem.message))
        .collect()
}

#[test]
fn one_server_away_is_one_problem_since_the_first_failure() {
    let mut failures = Failures::new("https://s".into());
    for (second, kind) in (10..).zip(kinds::of(Reader::Agent)) {
        failures.failed(kind, "watch", Cause::Away("refused".into()), at(second));
    }
    for (second, kind) in (100..).zip(kinds::of(Reader::Agent)) {
        failures.failed(kind, "list", Cause::Away("refused".into()), at(second));
    }
    assert_eq!(
        messages(&failures),
        [
            "API server https://s: does not answer since 1970-01-01T00:00:10Z: refused; what was read before stays in \
          force: look at the server, and at the way to it"
        ]
    );
    for kind in kinds::of(Reader::Agent) {
        failures.answered(&kind.kind, "watch");
    }
    assert!(messages(&failures).is_empty());
    let kind = kinds::of(Reader::Agent)[0];
    failures.failed(kind, "watch", Cause::Away("refused".into()), at(200));
    assert!(
        messages(&failures)[0].contains("00:03:20Z"),
        "a new failure has a time of its own"
    );
}

#[test]
fn what_is_wrong_with_a_kind_is_told_of_that_kind() {
    let mut failures = Failures::new("https://s".into());
    let [network, host, ..] = kinds::of(Reader::Agent)[..] else {
        panic!()
    };
    failures.failed(network, "list", Cause::NoSuchResource, at(1));
    failures.failed(
        host,
        "watch",
        Cause::Forbidden("you cannot watch".into()),
        at(2),
    );
    let told = messages(&failures);
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .any(|it| it.contains("no resource clusternetworks.network.openshift.io: install")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|it| it.contains("you cannot watch") && it.contains("let this account")),
        "{told:?}"
    );
    failures.answered(&Kind::HostSubnet, "list");
    assert_eq!(
        messages(&failures).len(),
        2,
        "a list that works does not mend a watch that is refused"
    );
    failures.answered(&Kind::HostSubnet, "watch");
    failures.answered(&Kind::ClusterNetwork, "list");
    assert!(messages(&failures).is_empty());
}
