//! The egress firewall in the kernel: connections here, what policies say and counters in `judgement`.

mod judgement;

use std::collections::BTreeSet;

use weft_core::model::{Action, Change, Destination, EgressPolicy, EgressRule, NamePattern};
use weft_ebpf::reason::DropReason;

use crate::frames::{ACK, Frame, SYN, frame};
use crate::rig::{Rig, interface, with_rig};

/// `TCX_NEXT`
const NEXT: i32 = -1;
/// `TCX_DROP`
const DROP: i32 = 2;
/// The pod of project `b`, which is joined with none.
const POD: &str = "10.128.2.6";
const OUTSIDE: &str = "198.51.100.9";

fn set(rig: &mut Rig, rules: Vec<EgressRule>) {
    let policy = EgressPolicy::new("b", rules);
    rig.take([Change::EgressPolicy("b".into(), "p".into(), Some(policy))]);
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
    frame(src, dst).icmp(vec![kind, 0, 0, 0, 0, 1, 0, 1])
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
        rig.take([Change::EgressPolicy("b".into(), "p".into(), Some(invalid))]);
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
