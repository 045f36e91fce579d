//! The program that the node's firewall asks, and its pin. It begins at the IP header, as netfilter hands packets over.

mod rules;

use std::collections::BTreeSet;

use aya::programs::{ProgramInfo, SocketFilter, TestRun as _, TestRunOptions};
use weft_agent::apply::after_dnat::{pin, remove_others};
use weft_agent::apply::object::{AFTER_DNAT, load};
use weft_agent::apply::pins::Pins;
use weft_agent::observe;
use weft_core::compile::project_key;
use weft_core::model::{Action, Change, Destination, EgressPolicy, EgressRule, Ports, Protocol};
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::{ProjectKey, VNID_CLOSED};
use weft_ebpf::tables::map;

use crate::frames::{Frame, UDP, frame};
use crate::rig::{BpfFs, NODE, Rig, context, in_namespace, interface, vnid, with_rig};

const PASS: u32 = 0;
const DROP: u32 = 1;

fn run(rig: &Rig, frame: &Frame) -> u32 {
    let program = rig.object.ebpf.program(AFTER_DNAT).unwrap();
    let program: &SocketFilter = program.try_into().unwrap();
    let options = TestRunOptions {
        data_in: Some(&frame.bytes()),
        ctx_in: Some(&context(interface("b"))),
        repeat: 1,
        ..TestRunOptions::default()
    };
    program.test_run(options).unwrap().return_value
}

/// Project `b` may reach one port of an address outside, nothing else there, and nothing of its node.
fn policy() -> Change {
    let rule = |action, to: &str, ports| EgressRule {
        action,
        to: Destination::Cidr(to.parse().unwrap()),
        ports,
    };
    let https = Ports {
        protocol: Protocol::Tcp,
        range: 443..=443,
    };
    let rules = vec![
        rule(Action::Allow, "198.51.100.9/32", vec![https.clone()]),
        rule(Action::Deny, "198.51.100.0/24", vec![]),
        rule(Action::Allow, "2001:db8::9/128", vec![https]),
        rule(Action::Deny, "2001:db8::/32", vec![]),
        rule(Action::Deny, "192.168.50.0/24", vec![]),
    ];
    Change::EgressPolicy("b".into(), "p".into(), Some(EgressPolicy::new("b", rules)))
}

#[test]
fn it_judges_by_the_senders_policy_and_tells_the_rule() {
    const B: &str = "10.128.2.6";
    const B6: &str = "fd01:0:0:2::6";
    let to_port = |frame: Frame, dst_port| Frame { dst_port, ..frame };
    let udp = |frame: Frame| frame.udp(443);
    with_rig(|rig| {
        rig.take([policy()]);
        for (why, frame, rule) in [
            ("allowed", to_port(frame(B, "198.51.100.9"), 443), None),
            ("another port", frame(B, "198.51.100.9"), Some(2)),
            ("UDP", udp(frame(B, "198.51.100.9")), Some(2)),
            (
                "an echo",
                frame(B, "198.51.100.9").icmp(vec![8, 0, 0, 0, 0, 1, 0, 1]),
                Some(2),
            ),
            ("no rule", frame(B, "203.0.113.7"), None),
            (
                "IPv6, allowed",
                to_port(frame(B6, "2001:db8::9"), 443),
                None,
            ),
            ("IPv6, another port", frame(B6, "2001:db8::9"), Some(4)),
            ("IPv6, UDP", udp(frame(B6, "2001:db8::9")), Some(4)),
            ("the own node", frame(B, NODE), Some(5)),
            ("its name server", to_port(frame(B, NODE), 53), None),
            ("its address for pods", frame(B, "10.128.2.1"), None),
            ("a pod, whom to_pod protects", frame(B, "10.128.2.7"), None),
            ("not translated", frame(B, "172.30.0.1"), None),
            ("not a pod's", frame("10.128.2.1", "198.51.100.9"), None),
            (
                "a project without policy",
                frame("10.128.2.5", "198.51.100.9"),
                None,
            ),
        ] {
            let expected = if rule.is_some() { DROP } else { PASS };
            assert_eq!(run(rig, &frame), expected, "{why}");
            let len = u32::try_from(frame.bytes().len()).unwrap();
            let events = rig.events();
            let told = rule.map(|rule| DropEvent {
                time: events.first().map_or(0, |event| event.time),
                src_project: project_key("b"),
                dst_project: ProjectKey(0),
                src: frame.src.into(),
                dst: frame.dst.into(),
                src_vnid: vnid("b"),
                dst_vnid: VNID_CLOSED,
                reason: DropReason::EgressDenied as u32,
                ifindex: interface("b"),
                len,
                hook: hook::AFTER_DNAT,
                rule,
                src_port: frame.src_port,
                dst_port: frame.dst_port,
                proto: frame.proto,
                reserved: [0; 7],
            });
            assert_eq!(events, Vec::from_iter(told), "{why}");
        }
        let drops = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
        let own = (interface("b"), DropReason::EgressDenied);
        assert_eq!(drops[&own].packets, 6, "charged to the sender: {drops:?}");
    });
}

#[test]
fn a_closed_project_and_what_is_no_packet() {
    with_rig(|rig| {
        // The pod of project `x`, which has no network.
        assert_eq!(run(rig, &frame("10.128.2.9", "198.51.100.9")), DROP);
        let reasons: Vec<_> = rig.events().iter().map(|event| event.reason).collect();
        assert_eq!(reasons, [DropReason::SourceProjectClosed as u32]);
        let headers = Frame {
            extensions: 7,
            proto: UDP,
            ..frame("fd01:0:0:2::6", "2001:db8::9")
        };
        assert_eq!(run(rig, &headers), DROP);
        let reasons: Vec<_> = rig.events().iter().map(|event| event.reason).collect();
        assert_eq!(reasons, [DropReason::TooManyHeaders as u32]);
    });
}

/// The rule's text has the pin's name: the same program has the same, and one that reads other maps another.
#[test]
fn the_pins_name_tells_the_program_and_its_maps() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let pins = Pins::open(folder.path()).unwrap();
        let start = || pin(&mut load(&pins).unwrap().ebpf, &pins).unwrap();
        let id = |path| ProgramInfo::from_pin(path).unwrap().id();
        let (first, before) = (start(), id(start()));
        assert_eq!(first, start());
        assert_eq!(id(first.clone()), before, "what is pinned stays");
        let tag = ProgramInfo::from_pin(&first).unwrap().tag();
        let name = first.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with(&format!("after_dnat-{tag:016x}-")),
            "{name}"
        );

        std::fs::remove_file(&first).unwrap();
        assert_eq!(start(), first, "it comes back");
        std::fs::remove_file(pins.map(map::ENDPOINTS)).unwrap();
        let second = start();
        assert_ne!(first, second, "a program of other rows");
        assert_eq!(
            remove_others(&pins, &BTreeSet::from([second.clone()])).unwrap(),
            1
        );
        assert!(second.exists() && !first.exists());
        assert_eq!(
            remove_others(&pins, &BTreeSet::from([second.clone()])).unwrap(),
            0
        );
    });
}
