//! The egress firewall in the kernel: what policies say, connections, counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use weft_agent::observe;
use weft_core::compile::compile;
use weft_core::model::{Action, Change, Destination, EgressPolicy, EgressRule, NamePattern};
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::{self, Party, Verdict};
use weft_ebpf::packet;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::egress::{ANY_PORT, action};

use crate::frames::{ACK, Frame, SYN, TCP, UDP, frame};
use crate::policies::{address, draft, policy, resolved};
use crate::rig::{Rig, interface, with_rig};

/// `TCX_NEXT`
const NEXT: i32 = -1;
/// `TCX_DROP`
const DROP: i32 = 2;
/// The pod of project `b`, which is joined with none.
const POD: &str = "10.128.2.6";
const POD6: &str = "fd01:0:0:2::6";
const OUTSIDE: &str = "198.51.100.9";
const SCTP: u8 = 132;
const ICMP: u8 = 1;

fn set(rig: &mut Rig, rules: Vec<EgressRule>) {
    let policy = EgressPolicy::new("b", rules);
    rig.take([Change::Policy("b".into(), "p".into(), Some(policy))]);
}

fn rule(action: Action, to: Destination) -> EgressRule {
    EgressRule {
        action,
        to,
        ports: vec![],
    }
}

fn deny_all() -> EgressRule {
    rule(
        Action::Deny,
        Destination::Cidr("0.0.0.0/0".parse().unwrap()),
    )
}

fn by_name(name: &str) -> EgressRule {
    let name = NamePattern::Exact(name.parse().unwrap());
    rule(Action::Allow, Destination::Name(name))
}

/// A packet's way out, and an answer's way back in.
fn out(rig: &Rig, frame: &Frame) -> i32 {
    rig.run("from_pod", interface("b"), &frame.bytes()).0
}

fn back(rig: &Rig, frame: &Frame) -> i32 {
    rig.run("to_pod", interface("b"), &frame.bytes()).0
}

fn udp(src: &str, src_port: u16, dst: &str, dst_port: u16) -> Frame {
    Frame {
        src_port,
        ..frame(src, dst).udp(dst_port)
    }
}

fn tcp(src: &str, src_port: u16, dst: &str, dst_port: u16, flags: u8) -> Frame {
    Frame {
        src_port,
        dst_port,
        ..frame(src, dst).flags(flags)
    }
}

/// `kind`: 8 asks for an echo, 0 answers (RFC 792).
fn echo(src: &str, dst: &str, kind: u8) -> Frame {
    Frame {
        proto: ICMP,
        src_port: u16::from_be_bytes([kind, 0]), // type and code stand where ports would
        dst_port: 0,
        ..frame(src, dst)
    }
}

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
            let change = Change::Policy("b".into(), "p".into(), Some(policy));
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

/// Who is asked may answer, whatever the policy says of the asker; who is not may not.
#[test]
fn answers_to_connections_from_outside_pass() {
    with_rig(|rig| {
        set(rig, vec![deny_all()]);
        let cases = [
            (
                "UDP",
                udp(OUTSIDE, 5000, POD, 53),
                udp(POD, 53, OUTSIDE, 5000),
                udp(POD, 53, OUTSIDE, 5001),
            ),
            (
                "TCP",
                tcp(OUTSIDE, 5000, POD, 80, SYN),
                tcp(POD, 80, OUTSIDE, 5000, SYN | ACK),
                tcp(POD, 80, OUTSIDE, 5000, SYN),
            ),
            (
                "echo",
                echo(OUTSIDE, POD, 8),
                echo(POD, OUTSIDE, 0),
                echo(POD, OUTSIDE, 8),
            ),
        ];
        for (what, asked, answer, own) in cases {
            assert_eq!(out(rig, &answer), DROP, "{what}: nobody has asked");
            assert_eq!(back(rig, &asked), NEXT, "{what}");
            assert_eq!(out(rig, &answer), NEXT, "{what}: an answer");
            assert_eq!(out(rig, &own), DROP, "{what}: the pod's own");
        }
        let reasons: BTreeSet<u32> = rig.events().iter().map(|event| event.reason).collect();
        assert_eq!(reasons, BTreeSet::from([DropReason::EgressDenied as u32]));

        // A policy that is closed stops answers, too.
        let invalid = EgressPolicy::invalid("spec.egress: is missing".into());
        rig.take([Change::Policy("b".into(), "p".into(), Some(invalid))]);
        let answer = udp(POD, 53, OUTSIDE, 5000);
        assert_eq!(back(rig, &udp(OUTSIDE, 5000, POD, 53)), NEXT);
        assert_eq!(out(rig, &answer), DROP, "a closed project answers nobody");
        let [event] = rig.events()[..] else {
            panic!("one event")
        };
        assert_eq!(event.reason, DropReason::EgressClosed as u32);
    });
}

/// The outside's packets of a connection that the pod opened while it was allowed open nothing for the pod.
#[test]
fn an_answer_from_outside_is_no_connection() {
    with_rig(|rig| {
        set(rig, vec![]);
        let (sent, answer) = (udp(POD, 7000, OUTSIDE, 9), udp(OUTSIDE, 9, POD, 7000));
        assert_eq!(out(rig, &sent), NEXT);
        set(rig, vec![deny_all()]);
        assert_eq!(back(rig, &answer), NEXT);
        assert_eq!(out(rig, &sent), DROP);
    });
}

/// A connection that was allowed by name outlives the address, but not the rule.
#[test]
fn a_connection_by_name_stays_while_the_rule_does() {
    with_rig(|rig| {
        let name = NamePattern::Exact("a.example.com".parse().unwrap());
        let resolved = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            Change::Resolved(name.clone(), addresses)
        };
        rig.take([resolved(&[OUTSIDE])]);
        set(rig, vec![by_name("a.example.com"), deny_all()]);
        let open = tcp(POD, 6000, OUTSIDE, 443, SYN);
        let go_on = tcp(POD, 6000, OUTSIDE, 443, ACK);
        assert_eq!(out(rig, &go_on), NEXT, "the address is the name's");
        rig.take([resolved(&[])]);
        assert_eq!(out(rig, &go_on), NEXT, "it goes on");
        assert_eq!(out(rig, &open), DROP, "it cannot begin");
        assert_eq!(
            out(rig, &tcp(POD, 6001, OUTSIDE, 443, ACK)),
            DROP,
            "another"
        );
        set(rig, vec![deny_all(), by_name("a.example.com")]);
        assert_eq!(out(rig, &go_on), DROP, "the address is denied first");
        set(rig, vec![by_name("a.example.com"), deny_all()]);
        assert_eq!(out(rig, &go_on), NEXT, "the rule is back");
        set(rig, vec![deny_all()]);
        assert_eq!(out(rig, &go_on), DROP, "the name is not allowed any more");
    });
}
