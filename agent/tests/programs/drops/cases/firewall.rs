//! What the egress firewall stops.

use std::sync::Arc;

use weft_core::compile::egress::{EgressPolicyTable, Memo};
use weft_core::compile::project_key;
use weft_core::diff::{SetWrite, Write};
use weft_core::model::{Action, Destination, EgressPolicy, EgressRule, Ports, Protocol};
use weft_ebpf::reason::DropReason::*;
use weft_ebpf::rows::ProjectRow;
use weft_ebpf::rows::egress::{ANY_PORT, POLICY_CLOSED};

use crate::drops::case::Case;
use crate::frames::frame;
use crate::rig::{NODE, vnid};

const B: &str = "10.128.2.6";
const B6: &str = "fd01:0:0:2::6";

/// The policy of `b` has three rules that deny, one of them a port.
pub fn firewall() -> Vec<Case> {
    let cidr = |text: &str| Destination::Cidr(text.parse().unwrap());
    let deny = |to, ports| EgressRule {
        action: Action::Deny,
        to,
        ports,
    };
    let http = Ports {
        protocol: Protocol::Tcp,
        range: 80..=80,
    };
    let rules = vec![
        deny(cidr("203.0.113.0/24"), vec![]),
        deny(cidr("198.51.100.8/29"), vec![http]),
        deny(cidr("2001:db8::/32"), vec![]),
    ];
    let policy = EgressPolicy::new("b", rules);
    let table = Memo::default().table(&policy).unwrap();
    let row = |policy, flags| {
        let vnid = vnid("b");
        let row = ProjectRow {
            policy,
            vnid,
            flags,
        };
        Write::Project(project_key("b"), Some(row))
    };
    let rows = |table: EgressPolicyTable| {
        let flags = table.flags();
        let write = SetWrite {
            number: policy.number(),
            new: Some(Arc::new(table)),
            old: None,
        };
        vec![Write::EgressPolicy(write), row(policy.number(), flags)]
    };
    let without = |family, class: fn(u32) -> bool| {
        let mut table = (*table).clone();
        let searches = &mut table.searches;
        searches.retain(|key, _| key.family != family || !class(key.class));
        rows(table)
    };
    let any: fn(u32) -> bool = |class| class == ANY_PORT;
    let of_ports: fn(u32) -> bool = |class| class != ANY_PORT;
    let case = |why, reason, dst: &str, rule, rows| Case {
        rule,
        rows,
        ..Case::new(
            why,
            reason,
            "b",
            &frame(if dst.contains(':') { B6 } else { B }, dst),
        )
        .from("b")
    };
    let closed = || vec![row(POLICY_CLOSED, 0)];
    let whole = || rows((*table).clone());
    vec![
        case("a rule", EgressDenied, "203.0.113.9", 1, whole()),
        case(
            "a rule for a port",
            EgressDenied,
            "198.51.100.9",
            2,
            whole(),
        ),
        case("a rule, IPv6", EgressDenied, "2001:db8::9", 3, whole()),
        case(
            "no policy that counts",
            EgressClosed,
            "198.51.100.1",
            0,
            closed(),
        ),
        case("the same, IPv6", EgressClosed, "2001:db8::9", 0, closed()),
        case("to the node itself", EgressClosed, NODE, 0, closed()),
        case(
            "no rows",
            EgressPolicyMissing,
            "192.0.2.1",
            0,
            without(4, any),
        ),
        case(
            "no rows, IPv6",
            EgressPolicyMissing,
            "fdaa::1",
            0,
            without(6, any),
        ),
        case(
            "none of the port",
            EgressPolicyMissing,
            "192.0.2.1",
            0,
            without(4, of_ports),
        ),
    ]
}
