//! Random policies and packets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use weft_agent::observe;
use weft_core::compile::compile;
use weft_core::model::Change;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Party, Verdict};
use weft_ebpf::packet::{self, proto::SCTP};
use weft_ebpf::rows::egress::{ANY_PORT, action};

use super::{DROP, NEXT, POD, out};
use crate::frames::{Frame, TCP, UDP, frame};
use crate::policies::{address, draft, policy, resolved};
use crate::rig::{interface, with_rig};

const POD6: &str = "fd01:0:0:2::6";

/// The programs run the same decisions as the host, over maps of the same content: what the verifier and the compiler for
/// BPF have made of them must not differ.
#[test]
fn the_kernel_judges_as_compiled_tables_do() {
    const POLICIES: usize = 40;
    const PACKETS: usize = 60;
    with_rig(|rig| {
        let mut runner = TestRunner::deterministic();
        let protocols = proptest::sample::select(vec![TCP, UDP, SCTP]);
        let ports = proptest::sample::select(vec![53_u16, 79, 80, 81, 1024, 4790, 65535]);
        let packet = (address(), -1..=1_i8, protocols, ports);
        let strategy = (
            draft(),
            prop::collection::vec(resolved(), 6),
            prop::collection::vec(packet, PACKETS),
        );
        let mut src_port = 1024; // each packet a connection of its own
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let mut hits: BTreeMap<(u64, u32), (u64, u64)> = BTreeMap::new();
        for _ in 0..POLICIES {
            let (draft, resolved, packets) = strategy.new_tree(&mut runner).unwrap().current();
            let policy = policy("b", &draft);
            let change = Change::EgressPolicy("b".into(), "p".into(), Some(policy));
            let names = resolved
                .into_iter()
                .map(|(name, all)| Change::Resolved(name, all));
            rig.take(names.chain([change]));
            let tables = compile(&rig.world);
            for (dst, by, proto, dst_port) in packets {
                src_port += 1;
                let dst = step_by(dst, by);
                let src = if dst.is_ipv4() { POD } else { POD6 };
                let frame = Frame {
                    proto,
                    src_port,
                    dst_port,
                    ..frame(src, &dst.to_string())
                };
                let parsed = packet::Packet {
                    src_mac: frame.src_mac,
                    src: Addr::from(frame.src),
                    dst: Addr::from(frame.dst),
                    src_port,
                    dst_port,
                    proto,
                    opens: 1,
                    len: u32::try_from(frame.bytes().len()).unwrap(),
                    ..packet::Packet::default()
                };
                let verdict = decide::from_pod(&tables, &parsed, interface("b"));
                rig.events();
                let code = out(rig, &frame);
                let told = rig.events();
                let expected = match verdict {
                    Verdict::Pass => NEXT,
                    Verdict::Drop(_) => DROP,
                    other => panic!("{other:?} for {frame:?}"),
                };
                assert_eq!(code, expected, "{verdict:?} for {frame:?} under {draft:?}");
                // A processor tells of so many drops a second and no more.
                if let (Verdict::Drop(denial), [event]) = (verdict, &told[..]) {
                    assert_eq!(
                        (event.reason, event.rule),
                        (denial.reason as u32, denial.rule)
                    );
                    *seen.entry(denial.reason.name().into()).or_default() += 1;
                }
                // The address of the node itself is no business of a policy on port 53.
                let is_dns = dst_port == 53 && proto != SCTP;
                if is_dns && rig.world.node.addresses.contains(&dst) {
                    continue;
                }
                let party = Party::pod(&tables, &tables.endpoints[&parsed.src]);
                let judged = decide::judge(&tables, &party, &parsed, 0);
                if let Some(judgement) = judged.filter(|it| it.rule.action != action::NONE) {
                    let row = hits.entry((party.policy, judgement.rule.rank)).or_default();
                    *row = (row.0 + 1, row.1 + u64::from(parsed.len));
                    let what = if judgement.class == ANY_PORT {
                        "any port"
                    } else {
                        "a port"
                    };
                    *seen.entry(what.into()).or_default() += 1;
                    *seen
                        .entry(format!("action {}", judgement.rule.action))
                        .or_default() += 1;
                    let how = if judgement.rule.name == 0 {
                        "prefix"
                    } else {
                        "name"
                    };
                    *seen.entry(how.into()).or_default() += 1;
                }
            }
        }
        let counted = observe::egress::hits(&rig.maps).unwrap();
        let counted = counted
            .into_iter()
            .map(|(key, row)| (key, (row.packets, row.bytes)));
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), hits, "hit counters");
        for what in [
            "any port",
            "a port",
            "action 1",
            "action 2",
            "prefix",
            "name",
            "EgressDenied",
            "EgressClosed",
        ] {
            assert!(seen.get(what).is_some_and(|n| *n >= 10), "{what}: {seen:?}");
        }
    });
}

fn step_by(ip: IpAddr, by: i8) -> IpAddr {
    match ip {
        IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add_signed(by.into()).into()),
        IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add_signed(by.into()).into()),
    }
}
