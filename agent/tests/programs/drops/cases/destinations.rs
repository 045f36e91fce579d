//! Where there is nobody.

use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::reason::DropReason::*;
use weft_ebpf::rows::{NodeRow, PrefixKey, PrefixRow, SubnetRow};

use super::{A, A6};
use crate::drops::case::Case;
use crate::frames::frame;
use crate::rig::VXLAN_PORT;

pub fn destinations() -> Vec<Case> {
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
        Case::new("the node's loopback", Loopback, "a", &frame(A, "127.0.0.1")).from("a"),
        Case::new("the same, IPv6", Loopback, "a", &frame(A6, "::1")).from("a"),
        Case::new("no address", Loopback, "a", &frame(A, "0.0.0.0")).from("a"),
        Case::new("no address, IPv6", Loopback, "a", &frame(A6, "::")).from("a"),
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
