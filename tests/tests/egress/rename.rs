//! A policy gets another name: in one change of its file the old one goes and the new one comes.

use std::fs;

use serde_json::json;
use weft_agent::api::view::EgressPolicyState;
use weft_lab::probe::Stream;
use weft_wait::eventually;

use crate::cluster::Pod;
use crate::field::{DENY_ALL, Field, ip, outside, rule};

const RENAMES: usize = 20;
const ALLOW: [&str; 2] = ["Allow 198.51.100.0/24", "Allow 2001:db8:1::/64"];
const ALLOWED: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];

/// In one order of names the old policy would be gone before the new one is there, and all would be open; in the other there
/// would be two for a moment, and all would be closed.
#[test]
fn a_policy_that_is_renamed_opens_and_closes_nothing() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let web = field.cluster.host_netns("web").unwrap();
    named(&field, "one");
    field.closes(&pod, outside(1));
    let stream = |pod: &Pod, to| Stream::start(&pod.netns, &web, to).unwrap();
    let allowed = ALLOWED.map(|to| stream(&pod, ip(to)));
    let denied = [outside(1), ip("2001:db8:1:2::7")].map(|to| stream(&pod, to));
    eventually("the streams flow", || {
        allowed.iter().all(|stream| stream.received() > 0)
    });

    for turn in 0..RENAMES {
        let (new, old) = if turn % 2 == 0 {
            ("two", "one")
        } else {
            ("one", "two")
        };
        named(&field, new);
        eventually("the new name is in force", || {
            let state = |name| field.policy("node1", "a", name).map(|it| it.state);
            state(new) == Some(EgressPolicyState::Enforced) && state(old).is_none()
        });
    }
    for stream in denied {
        let report = stream.finish().unwrap();
        let out = report.sent - report.lost.len() as u64;
        assert_eq!(out, 0, "denied, of {}", report.sent);
    }
    for stream in allowed {
        let report = stream.finish().unwrap();
        assert_eq!(report.lost, [0; 0], "allowed, of {}", report.sent);
        assert_eq!(report.refused, None);
    }
}

/// Writes the file of the policy, as editors and deployment tools do: whole, by a rename.
fn named(field: &Field, name: &str) {
    let rules: Vec<_> = [ALLOW, DENY_ALL].concat().into_iter().map(rule).collect();
    let object = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"namespace": "a", "name": name}, "spec": {"egress": rules},
    });
    let directory = field.cluster.status().unwrap().manifests.unwrap();
    let [temporary, file] = [".policy", "policy.json"].map(|name| directory.join(name));
    fs::write(&temporary, object.to_string()).unwrap();
    fs::rename(temporary, file).unwrap();
}
