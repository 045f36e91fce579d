//! Who may not talk to whom.

use weft_ebpf::reason::DropReason::*;

use super::{A, A6};
use crate::drops::case::Case;
use crate::frames::frame;

pub fn admission() -> Vec<Case> {
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
        host_side(
            Case::new(
                "through a service that hides the sender behind the node",
                Isolated,
                "b",
                &frame("10.128.2.1", "10.128.2.6"),
            )
            .entered("a")
            .to("b"),
        ),
        host_side(
            Case::new(
                "the same behind the node's own address, IPv6",
                Isolated,
                "b",
                &frame("fd01:0:0:2::1", "fd01:0:0:2::6").udp(53),
            )
            .entered("a")
            .to("b"),
        ),
        host_side(
            Case::new(
                "behind an address from outside",
                Isolated,
                "b",
                &frame("198.51.100.9", "10.128.2.6"),
            )
            .entered("a")
            .to("b"),
        ),
        host_side(
            Case::new(
                "a closed project behind the node",
                SourceProjectClosed,
                "b",
                &frame("192.168.50.11", "10.128.2.6"),
            )
            .entered("x")
            .to("b"),
        ),
        Case::new(
            "a closed project behind the node, to a remote pod",
            SourceProjectClosed,
            "x",
            &frame("10.128.2.1", "10.128.4.5"),
        )
        .at("to_overlay")
        .entered("x")
        .outside_receiver()
        .charged(None),
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
        .from("x")
        .outside_receiver(),
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
