//! Every drop reason: return code, counters of the node and of the endpoint, and the event.

use std::collections::BTreeSet;

use weft_agent::observe;
use weft_core::compile::project_key;
use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::reason::DropReason::{self, *};
use weft_ebpf::rows::{NodeRow, PrefixKey, PrefixRow, ProjectKey, SubnetRow, VNID_CLOSED};

use crate::frames::{Frame, TCP, UDP, frame};
use crate::rig::{Rig, VXLAN_PORT, interface, vnid, with_rig};

/// `TCX_DROP`
const DROP: i32 = 2;

/// Reasons that need a packet with overlay metadata, which a test run cannot give one (`bpf_skb_get_tunnel_key` reads the
/// packet's metadata destination, and `struct __sk_buff` has no field for it). They are shown on a real overlay device, in
/// the module `overlay`.
const NEED_AN_OVERLAY_DEVICE: [DropReason; 2] = [UnknownPeer, NotForThisNode];

/// What the event tells of the packet: addresses, ports, protocol.
struct Seen {
    src: Addr,
    dst: Addr,
    ports: (u16, u16),
    proto: u8,
}

const NOTHING: Seen = Seen {
    src: Addr::UNSPECIFIED,
    dst: Addr::UNSPECIFIED,
    ports: (0, 0),
    proto: 0,
};

struct Case {
    why: &'static str,
    reason: DropReason,
    program: &'static str,
    on: &'static str,
    bytes: Vec<u8>,
    seen: Seen,
    /// Projects that the event names. Their VNIDs follow, but where the packet was dropped before they were known.
    from: Option<&'static str>,
    to: Option<&'static str>,
    vnids: (u32, u32),
    /// Pod that the drop is charged to.
    charged: Option<&'static str>,
    /// Rows that must be other than the world's for it.
    rows: Vec<Write>,
}

impl Case {
    /// A drop of a pod's own packet, before anything is known of either side.
    fn new(why: &'static str, reason: DropReason, on: &'static str, frame: &Frame) -> Self {
        Self {
            why,
            reason,
            program: "from_pod",
            on,
            bytes: frame.bytes(),
            seen: Seen {
                src: frame.src.into(),
                dst: frame.dst.into(),
                ports: (frame.src_port, frame.dst_port),
                proto: frame.proto,
            },
            from: None,
            to: None,
            vnids: (VNID_CLOSED, VNID_CLOSED),
            charged: Some(on),
            rows: vec![],
        }
    }

    /// The sender is known.
    fn from(mut self, project: &'static str) -> Self {
        self.from = Some(project);
        self.vnids.0 = vnid(project);
        self
    }

    /// The receiver is known.
    fn to(mut self, project: &'static str) -> Self {
        self.to = Some(project);
        self.vnids.1 = vnid(project);
        self
    }

    /// One side is no pod of this node, but has a network number.
    fn outside_sender(mut self) -> Self {
        self.vnids.0 = 0;
        self
    }

    fn outside_receiver(mut self) -> Self {
        self.vnids.1 = 0;
        self
    }

    fn at(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    fn charged(self, charged: Option<&'static str>) -> Self {
        Self { charged, ..self }
    }

    fn with(self, row: Write) -> Self {
        Self {
            rows: vec![row],
            ..self
        }
    }

    fn bytes(self, bytes: Vec<u8>, seen: Seen) -> Self {
        Self {
            bytes,
            seen,
            ..self
        }
    }
}

const A: &str = "10.128.2.5";
const A6: &str = "fd01:0:0:2::5";

/// What cannot be parsed, and what is not the pod's to send.
fn frames_and_spoofing() -> Vec<Case> {
    let plain = frame(A, "10.128.2.6");
    // A test run itself refuses frames that are shorter than an IP header.
    let mut short = plain.bytes();
    short[14] = 0x44;
    let mut arp = plain.bytes();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let headers = Frame {
        extensions: 7,
        ..frame(A6, "fd01:0:0:2::7")
    };
    let refused = Seen {
        src: headers.src.into(),
        dst: headers.dst.into(),
        ..NOTHING
    };
    vec![
        Case::new("an IPv4 header of four words", Malformed, "a", &plain).bytes(short, NOTHING),
        Case::new("ARP", NotIp, "a", &plain).bytes(arp, NOTHING),
        Case::new("seven options headers", TooManyHeaders, "a", &headers)
            .bytes(headers.bytes(), refused),
        Case::new(
            "another pod's address",
            SpoofedAddress,
            "a",
            &frame("10.128.2.6", "10.128.2.8"),
        ),
        Case::new(
            "an address of nobody",
            SpoofedAddress,
            "a",
            &frame("198.51.100.1", "10.128.2.8"),
        ),
        Case::new(
            "the gateway's address",
            SpoofedAddress,
            "a",
            &frame("10.128.2.1", "10.128.2.8"),
        ),
        Case::new(
            "another pod's, IPv6",
            SpoofedAddress,
            "a",
            &frame("fd01:0:0:2::6", "fd01:0:0:2::8"),
        ),
        Case {
            from: Some("a"), // its project is known by the address; the network is not looked up any more
            ..Case::new(
                "another MAC address",
                SpoofedMac,
                "a",
                &frame(A, "10.128.2.8").mac([2, 0, 0, 0, 0, 1]),
            )
        },
        Case::new(
            "to a node's overlay port",
            ForgedOverlay,
            "a",
            &frame(A, "192.168.50.12").udp(VXLAN_PORT),
        )
        .from("a"),
        Case::new(
            "the same from a global project",
            ForgedOverlay,
            "g",
            &frame("10.128.2.8", "10.128.4.1").udp(VXLAN_PORT),
        )
        .from("g"),
    ]
}

/// Who may not talk to whom.
fn admission() -> Vec<Case> {
    let host_side = |case: Case| case.at("to_pod");
    vec![
        Case::new("two projects", Isolated, "a", &frame(A, "10.128.2.6"))
            .from("a")
            .to("b"),
        Case::new(
            "two projects, IPv6, UDP",
            Isolated,
            "a",
            &frame(A6, "fd01:0:0:2::6").udp(53),
        )
        .from("a")
        .to("b"),
        host_side(
            Case::new("through a service", Isolated, "b", &frame(A, "10.128.2.6"))
                .from("a")
                .to("b"),
        ),
        Case::new(
            "closed to local",
            SourceProjectClosed,
            "x",
            &frame("10.128.2.9", "10.128.2.8"),
        )
        .from("x")
        .to("g"),
        Case::new(
            "closed to itself",
            SourceProjectClosed,
            "x",
            &frame("10.128.2.9", "10.128.2.9"),
        )
        .from("x")
        .to("x"),
        Case::new(
            "closed to a remote pod",
            SourceProjectClosed,
            "x",
            &frame("10.128.2.9", "10.128.4.5"),
        )
        .from("x")
        .outside_receiver(),
        Case::new(
            "closed to the outside",
            SourceProjectClosed,
            "x",
            &frame("10.128.2.9", "198.51.100.9"),
        )
        .from("x"),
        Case::new(
            "translated, to a remote pod",
            SourceProjectClosed,
            "x",
            &frame("10.128.2.9", "10.128.4.5"),
        )
        .at("to_overlay")
        .from("x")
        .outside_receiver()
        .charged(None),
        Case::new(
            "to closed",
            TargetProjectClosed,
            "a",
            &frame(A, "10.128.2.9"),
        )
        .from("a")
        .to("x"),
        Case::new(
            "global to closed",
            TargetProjectClosed,
            "g",
            &frame("10.128.2.8", "10.128.2.9"),
        )
        .from("g")
        .to("x"),
        host_side(
            Case::new(
                "outside to closed",
                TargetProjectClosed,
                "x",
                &frame("198.51.100.9", "10.128.2.9"),
            )
            .outside_sender()
            .to("x"),
        ),
    ]
}

/// Where there is nobody.
fn destinations() -> Vec<Case> {
    let prefix = PrefixKey {
        prefix_len: 96 + 24,
        addr: Addr::v4([198, 51, 100, 0]),
    };
    let unknown = PrefixRow {
        class: 99,
        subnet_lens: [0; 4],
    };
    let of_ipv6_node = SubnetRow {
        node: Addr([0xfd; 16]),
        len: 96 + 23,
    };
    vec![
        Case::new(
            "an address that no pod has",
            NoSuchPod,
            "a",
            &frame(A, "10.128.3.200"),
        )
        .from("a"),
        Case::new(
            "the same, IPv6",
            NoSuchPod,
            "a",
            &frame(A6, "fd01:0:0:2::beef"),
        )
        .from("a"),
        Case::new(
            "from the host",
            NoSuchPod,
            "a",
            &frame("10.128.2.1", "10.128.3.200"),
        )
        .at("to_pod"),
        Case::new(
            "own subnet at the overlay",
            NoSuchPod,
            "a",
            &frame("10.128.2.1", "10.128.3.200"),
        )
        .at("to_overlay")
        .charged(None),
        Case::new(
            "a subnet that no node holds",
            NoSuchNode,
            "a",
            &frame(A, "10.128.100.1"),
        )
        .from("a"),
        Case::new(
            "from the host",
            NoSuchNode,
            "a",
            &frame("10.128.2.1", "10.128.100.1"),
        )
        .at("to_overlay")
        .charged(None),
        Case::new(
            "no pod at all at the overlay",
            NoSuchNode,
            "a",
            &frame("10.128.2.1", "198.51.100.9"),
        )
        .at("to_overlay")
        .charged(None),
        Case::new(
            "not this node's to send",
            ForeignSource,
            "a",
            &frame("198.51.100.9", "10.128.4.5"),
        )
        .at("to_overlay")
        .charged(None),
        Case::new("no metadata", NoTunnelKey, "a", &frame("10.128.4.5", A))
            .at("from_overlay")
            .charged(Some("a")),
        Case::new(
            "a remote pod through the host",
            UnexpectedSource,
            "a",
            &frame("10.128.4.5", A),
        )
        .at("to_pod"),
        Case::new(
            "another pod's interface",
            WrongInterface,
            "b",
            &frame("10.128.2.1", A),
        )
        .at("to_pod"),
        Case::new(
            "IPv4 multicast",
            MulticastDisabled,
            "a",
            &frame(A, "224.0.0.5").udp(5000),
        )
        .from("a"),
        Case::new(
            "IPv6 multicast",
            MulticastDisabled,
            "a",
            &frame(A6, "ff05::5").udp(5000),
        )
        .from("a"),
        Case::new("IPv6 on the link", LinkLocal, "a", &frame(A6, "ff02::2")),
        Case::new("no device yet", NoOverlay, "a", &frame(A, "10.128.4.5")).with(Write::Node(
            NodeRow {
                overlay_ifindex: 0,
                vxlan_port: VXLAN_PORT.into(),
            },
        )),
        Case::new(
            "a row of the future",
            UnknownClass,
            "a",
            &frame(A, "198.51.100.9"),
        )
        .from("a")
        .with(Write::Prefix(prefix, Some(unknown))),
        Case::new(
            "a node that the IPv4 underlay cannot reach",
            HelperFailed,
            "a",
            &frame(A, "10.128.4.5"),
        )
        .with(Write::Subnet(Addr::v4([10, 128, 4, 0]), Some(of_ipv6_node))),
    ]
}

fn cases() -> Vec<Case> {
    [frames_and_spoofing(), admission(), destinations()]
        .into_iter()
        .flatten()
        .collect()
}

fn number(program: &str) -> u32 {
    (hook::FROM_POD..=hook::TO_OVERLAY)
        .find(|hook| hook::name(*hook) == program)
        .unwrap()
}

/// The counters that the drop must raise: the node's for its reason and the endpoint's.
fn counted(rig: &Rig, reason: DropReason, ifindex: u32) -> [(u64, u64); 2] {
    let by_reason = observe::maps::drops_by_reason(&rig.maps).unwrap();
    let by_endpoint = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
    [
        by_reason.get(&reason).copied().unwrap_or_default(),
        by_endpoint
            .get(&(ifindex, reason))
            .copied()
            .unwrap_or_default(),
    ]
    .map(|row| (row.packets, row.bytes))
}

fn total(rig: &Rig) -> [u64; 2] {
    let by_reason = observe::maps::drops_by_reason(&rig.maps).unwrap();
    let by_endpoint = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
    [
        by_reason.values().map(|row| row.packets).sum(),
        by_endpoint.values().map(|row| row.packets).sum(),
    ]
}

fn check(rig: &mut Rig, case: Case) {
    let Case {
        why,
        reason,
        program,
        on,
        bytes,
        seen,
        from,
        to,
        vnids,
        charged,
        rows,
    } = case;
    let why = format!("{program}: {reason:?}: {why}");
    rig.write(&rows);
    let charged = charged.map_or(0, interface);
    let (before, all_before) = (counted(rig, reason, charged), total(rig));
    let start = rig.events();
    assert_eq!(start, vec![], "{why}: an event of an earlier packet");

    let (code, out) = rig.run(program, interface(on), &bytes);
    let len = bytes.len() as u64;
    assert_eq!(code, DROP, "{why}");
    if reason != HelperFailed {
        assert_eq!(out, bytes, "{why}: a dropped packet is left as it was");
    }
    let after = before.map(|(packets, bytes)| (packets + 1, bytes + len));
    assert_eq!(counted(rig, reason, charged), after, "{why}: counters");
    assert_eq!(
        total(rig),
        all_before.map(|n| n + 1),
        "{why}: one packet, one reason, one endpoint"
    );

    let events = rig.events();
    if reason == LinkLocal {
        assert_eq!(events, vec![], "{why}: counted, but no event");
    } else {
        let [event] = events[..] else {
            panic!("{why}: events {events:?}");
        };
        let key = |project: Option<&str>| project.map_or(ProjectKey(0), project_key);
        assert!(event.time > 0, "{why}: monotonic clock");
        let expected = DropEvent {
            time: event.time,
            src_project: key(from),
            dst_project: key(to),
            src: seen.src,
            dst: seen.dst,
            src_vnid: vnids.0,
            dst_vnid: vnids.1,
            reason: reason as u32,
            ifindex: interface(on),
            len: u32::try_from(bytes.len()).unwrap(),
            hook: number(program),
            src_port: seen.ports.0,
            dst_port: seen.ports.1,
            proto: seen.proto,
            reserved: [0; 3],
        };
        assert_eq!(event, expected, "{why}");
    }
    if !rows.is_empty() {
        rig.restore();
    }
}

#[test]
fn every_reason_is_counted_and_told() {
    with_rig(|rig| {
        let mut shown: BTreeSet<DropReason> = BTreeSet::new();
        for case in cases() {
            shown.insert(case.reason);
            check(rig, case);
        }
        let all = DropReason::ALL.iter().copied();
        let missing: Vec<_> = all.filter(|reason| !shown.contains(reason)).collect();
        assert_eq!(
            missing, NEED_AN_OVERLAY_DEVICE,
            "reasons that no case shows"
        );
    });
}

/// The maps of a node that has no cluster network yet, or whose agent was killed before its first write: closed.
#[test]
fn empty_maps_let_nothing_through() {
    with_rig(|rig| {
        let actual = observe::maps::tables(&rig.maps).unwrap();
        rig.write(&weft_core::diff::diff(
            &weft_core::compile::Tables::default(),
            &actual,
        ));
        for (program, src, dst, reason) in [
            ("from_pod", A, "10.128.2.7", SpoofedAddress),
            ("to_pod", "10.128.2.1", A, NoSuchPod),
            ("from_overlay", "10.128.4.5", A, NoTunnelKey),
            ("to_overlay", "10.128.2.1", "10.128.4.5", ForeignSource),
        ] {
            for proto in [TCP, UDP] {
                let bytes = Frame {
                    proto,
                    ..frame(src, dst)
                }
                .bytes();
                assert_eq!(
                    rig.run(program, interface("a"), &bytes).0,
                    DROP,
                    "{program}"
                );
                let events = rig.events();
                assert_eq!(events.len(), 1, "{program}");
                assert_eq!(events[0].reason, reason as u32, "{program}");
            }
        }
    });
}
