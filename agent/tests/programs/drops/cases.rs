//! A packet for each drop reason.

use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::reason::DropReason::{self, *};
use weft_ebpf::rows::{NodeRow, PrefixKey, PrefixRow, SubnetRow, VNID_CLOSED};

use crate::frames::{Frame, frame};
use crate::rig::{VXLAN_PORT, vnid};

/// What the event tells of the packet: addresses, ports, protocol.
pub struct Seen {
    pub src: Addr,
    pub dst: Addr,
    pub ports: (u16, u16),
    pub proto: u8,
}

const NOTHING: Seen = Seen {
    src: Addr::UNSPECIFIED,
    dst: Addr::UNSPECIFIED,
    ports: (0, 0),
    proto: 0,
};

pub struct Case {
    pub why: &'static str,
    pub reason: DropReason,
    pub program: &'static str,
    pub on: &'static str,
    pub bytes: Vec<u8>,
    pub seen: Seen,
    /// Projects that the event names. Their VNIDs follow, but where the packet was dropped before they were known.
    pub from: Option<&'static str>,
    pub to: Option<&'static str>,
    pub vnids: (u32, u32),
    /// Pod that the drop is charged to.
    pub charged: Option<&'static str>,
    /// Rows that must be other than the world's for it.
    pub rows: Vec<Write>,
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

pub const A: &str = "10.128.2.5";
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
                ..NodeRow::default()
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

pub fn cases() -> Vec<Case> {
    [frames_and_spoofing(), admission(), destinations()]
        .into_iter()
        .flatten()
        .collect()
}
