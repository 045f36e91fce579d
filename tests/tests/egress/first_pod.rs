//! The first pod of a project brings the names of its policy: what is denied by name is known when its programs start.

use std::thread;
use std::time::{Duration, Instant};

use weft_agent::api::view::{EgressPolicyState, NameWord};
use weft_lab::dns::relay::play;
use weft_wait::eventually;

use crate::field::{Field, ip, outside, outside6};

/// The agent asks the relay, and nobody else.
const CONFIG: &str = "dns: {servers: [203.0.113.54]}";
const WEB: &str = "198.51.100.7";
/// How long ADD waits at most.
const BOUND: Duration = Duration::from_secs(2);

/// A policy of a project without pods; the agent knows it when this returns.
fn policy(field: &Field, project: &str, rules: &[&str]) {
    field.apply(project, "names", &[rules]);
    eventually("the agent knows the policy", || {
        let policy = field.policy("node1", project, "names");
        policy.is_some_and(|it| it.state == EgressPolicyState::NotLocal)
    });
}

#[test]
fn what_is_denied_by_name_is_denied_to_the_first_pod_at_once() {
    let field = Field::with(1, Some(CONFIG));
    let pause = Duration::from_millis(700);
    field.relay.play(play::delayed(pause));
    let denied = [outside(1), outside6()];
    field.set("www.foo.com", 60, &denied);
    policy(&field, "a", &["Deny www.foo.com"]);
    let start = Instant::now();
    let pod = field.cluster.pod("a/p", "node1");
    let took = start.elapsed();
    for address in denied {
        field.denied(&pod, address);
    }
    assert!(
        took >= pause,
        "the answer came earlier than it could: {took:?}"
    );
    field.open(&pod, ip(WEB));
    // The name is known: nobody waits again.
    field.relay.play(play::lost());
    let start = Instant::now();
    let second = field.cluster.pod("a/second", "node1");
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    for address in denied {
        field.denied(&second, address);
    }
}

#[test]
fn a_dead_name_server_delays_the_first_pods_once_and_nobody_else() {
    let field = Field::with(1, Some(CONFIG));
    field.relay.play(play::lost());
    policy(
        &field,
        "a",
        &["Deny www.foo.com", "Deny x.foo.com", "Deny y.foo.com"],
    );
    policy(&field, "b", &["Allow z.foo.com", "Deny *.foo.com"]);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let start = Instant::now();
            let pod = field.cluster.pod("a/p", "node1");
            (pod, start.elapsed(), Instant::now())
        });
        eventually("the first pod is attached", || {
            let pods = field.cluster.pods("node1");
            pods.iter().any(|pod| pod.namespace == "a")
        });
        // Nothing to deny by name, or nothing that could be asked for.
        let others = ["b/p", "c/p"].map(|label| field.cluster.pod(label, "node1"));
        let ended = Instant::now();
        let (pod, took, at) = first.join().unwrap();
        assert!(ended < at, "the other pods waited with the first one");
        assert!(took >= BOUND, "it did not wait: {took:?}");
        assert!(took < 3 * BOUND, "{took:?}");
        for pod in others.iter().chain([&pod]) {
            field.open(pod, ip(WEB));
        }
    });
    // They failed once: nobody waits for them again.
    eventually("the names have failed", || {
        let policy = field.policy("node1", "a", "names").unwrap();
        policy.rules.iter().all(|rule| {
            let name = rule.name.as_ref();
            name.is_some_and(|it| it.state == NameWord::Unresolved && !it.error.is_empty())
        })
    });
    let start = Instant::now();
    field.cluster.pod("a/second", "node1");
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
}
