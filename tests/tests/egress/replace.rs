//! A policy is replaced under traffic, whole or not at all.

use std::time::Instant;

use weft_agent::api::view::EgressPolicyState;
use weft_lab::probe::Stream;
use weft_wait::eventually;

use crate::cluster::Pod;
use crate::field::{Field, ip, outside};

const VERSIONS: u32 = 1_000;
/// After so many versions the last but one comes back.
const RETURNS: u32 = 250;
const POLICY: &str = "changing";

#[test]
fn a_thousand_replacements_let_nothing_denied_out_and_lose_nothing_allowed() {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    let web = field.cluster.host_netns("web").unwrap();
    apply(&field, 0);
    field.closes(&pod, outside(1));
    let stream = |pod: &Pod, to| Stream::start(&pod.netns, &web, to).unwrap();
    let allowed = ["198.51.100.7", "2001:db8:1::7"].map(|to| stream(&pod, ip(to)));
    let denied = [outside(1), ip("2001:db8:1:2::7")].map(|to| stream(&pod, to));
    eventually("the streams flow", || {
        allowed.iter().all(|stream| stream.received() > 0)
    });

    let start = Instant::now();
    let put = |version| {
        apply(&field, version);
        let marker = marker(version);
        eventually("the version is in force", || {
            let policy = field.policy("node1", "a", POLICY).unwrap();
            policy.state == EgressPolicyState::Enforced
                && policy.rules.iter().any(|rule| rule.text.ends_with(&marker))
        });
    };
    for version in 1..=VERSIONS {
        put(version);
        if version.is_multiple_of(RETURNS) {
            // Rows of a replaced version stay for a moment: of one that is back by then they stay for good.
            put(version - 1);
            put(version);
            let before = allowed[0].received();
            eventually("a second of packets", || {
                allowed[0].received() > before + 1_000
            });
        }
    }
    println!("{:?} a replacement", start.elapsed() / VERSIONS);
    for stream in allowed {
        let report = stream.finish().unwrap();
        assert_eq!(report.lost, [0; 0], "allowed, of {}", report.sent);
        assert_eq!(report.refused, None);
    }
    for stream in denied {
        let report = stream.finish().unwrap();
        let out = report.sent - report.lost.len() as u64;
        assert_eq!(out, 0, "denied, of {}", report.sent);
    }
}

/// An address that only one version of the policy names.
fn marker(version: u32) -> String {
    format!("192.0.{}.{}/32", 2 + version / 256, version % 256)
}

/// Every version allows and denies the same two prefixes of each family; all else differs: order, actions, number of rules.
fn apply(field: &Field, version: u32) {
    let allow = ["Allow 198.51.100.0/24", "Allow 2001:db8:1::/64"];
    let deny = ["Deny 203.0.113.128/25", "Deny 2001:db8:1:2::/64"];
    let marker = format!(
        "{} {}",
        if version.is_multiple_of(2) {
            "Allow"
        } else {
            "Deny"
        },
        marker(version)
    );
    let filler: Vec<String> = (0..version % 40)
        .map(|n| format!("Deny 10.{}.{n}.0/24 TCP/{}", version % 100, 1 + n))
        .collect();
    let filler: Vec<&str> = filler.iter().map(String::as_str).collect();
    let last: &[&str] = match version % 3 {
        0 => &["Deny 0.0.0.0/0", "Deny ::/0"],
        1 => &["Allow 0.0.0.0/0", "Allow ::/0"],
        _ => &["Allow www.foo.com"],
    };
    let marker = [marker.as_str()];
    let order: [&[&str]; 5] = if version.is_multiple_of(5) {
        [&deny, &filler, &marker, &allow, last]
    } else {
        [&marker, &allow, &deny, &filler, last]
    };
    field.apply("a", POLICY, &order);
}
