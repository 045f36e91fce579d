//! What the programs do with packets that they forward: return code, MAC addresses, counters.

use weft_agent::observe;
use weft_core::diff::Write;
use weft_ebpf::rows::{GATEWAY_MAC, OVERLAY_MAC, TrafficRow, endpoint_flag};

use crate::frames::{Frame, frame, pod_mac};
use crate::rig::{Rig, interface, with_rig};

/// `TCX_NEXT`
const NEXT: i32 = -1;
/// `TCX_REDIRECT`
const REDIRECT: i32 = 7;

struct Case {
    why: &'static str,
    program: &'static str,
    /// Pod on whose interface the program runs; the overlay hooks need none.
    on: &'static str,
    /// Pod by whose interface it came to the node, if it is not sent by the pod that is `on`.
    entered: Option<&'static str>,
    frame: Frame,
    code: i32,
    /// Destination and source MAC address afterwards; `None`: as they were.
    macs: Option<([u8; 6], [u8; 6])>,
    /// Pod whose sent packets are counted.
    sent: Option<&'static str>,
    /// Pod whose received packets are counted.
    received: Option<&'static str>,
}

/// MAC addresses of a frame on its way into a pod.
fn into_pod(last: u8) -> ([u8; 6], [u8; 6]) {
    (pod_mac([10, 128, 2, last].into()), GATEWAY_MAC)
}

fn cases() -> Vec<Case> {
    let from = |on, src, dst, why| Case {
        why,
        program: "from_pod",
        on,
        entered: None,
        frame: frame(src, dst),
        code: NEXT,
        macs: None,
        sent: Some(on),
        received: None,
    };
    let local = |on, src, dst, receiver, last, why| Case {
        code: REDIRECT,
        macs: Some(into_pod(last)),
        received: Some(receiver),
        ..from(on, src, dst, why)
    };
    let remote = |on, src, dst, why| Case {
        code: REDIRECT,
        macs: Some((OVERLAY_MAC, GATEWAY_MAC)),
        ..from(on, src, dst, why)
    };
    let to = |on, last, src, dst, why| Case {
        why,
        program: "to_pod",
        on,
        entered: None,
        frame: frame(src, dst),
        code: NEXT,
        macs: Some(into_pod(last)),
        sent: None,
        received: Some(on),
    };
    let out = |src, dst, why| Case {
        why,
        program: "to_overlay",
        on: "a",
        entered: None,
        frame: frame(src, dst),
        code: NEXT,
        macs: Some((OVERLAY_MAC, GATEWAY_MAC)),
        sent: None,
        received: None,
    };
    vec![
        local("a", "10.128.2.5", "10.128.2.7", "c", 7, "joined projects"),
        local(
            "a",
            "fd01:0:0:2::5",
            "fd01:0:0:2::7",
            "c",
            7,
            "joined, IPv6",
        ),
        local("a", "10.128.2.5", "10.128.2.5", "a", 5, "a pod to itself"),
        local(
            "a",
            "10.128.2.5",
            "10.128.2.8",
            "g",
            8,
            "to a global project",
        ),
        local(
            "g",
            "10.128.2.8",
            "10.128.2.6",
            "b",
            6,
            "from a global project",
        ),
        remote("a", "10.128.2.5", "10.128.4.5", "a pod of another node"),
        remote(
            "a",
            "fd01:0:0:2::5",
            "fd01:0:0:4::5",
            "the same, IPv6 over IPv4",
        ),
        remote(
            "b",
            "10.128.2.6",
            "10.128.4.1",
            "another node's gateway is that node's to judge",
        ),
        from("a", "10.128.2.5", "198.51.100.9", "external"),
        from("a", "fd01:0:0:2::5", "2001:db8::9", "external, IPv6"),
        from(
            "a",
            "10.128.2.5",
            "192.168.50.12",
            "another node's own address is external",
        ),
        from("a", "10.128.2.5", "172.30.0.10", "a service"),
        from(
            "x",
            "10.128.2.9",
            "172.30.0.10",
            "the service hop is free even for a closed project",
        ),
        from("a", "10.128.2.5", "192.168.50.11", "the own node"),
        from("a", "10.128.2.5", "10.128.2.1", "the gateway"),
        from("a", "fd01:0:0:2::5", "fd01:0:0:2::1", "the gateway, IPv6"),
        to("a", 5, "10.128.2.1", "10.128.2.5", "the node's probes"),
        to(
            "x",
            9,
            "10.128.2.1",
            "10.128.2.9",
            "the node's probes reach a closed project, too",
        ),
        to(
            "a",
            5,
            "192.168.50.11",
            "10.128.2.5",
            "the node's other address",
        ),
        to(
            "a",
            5,
            "10.128.2.7",
            "10.128.2.5",
            "a local pod whose service address was translated",
        ),
        to("a", 5, "172.30.0.10", "10.128.2.5", "a service's answer"),
        to(
            "b",
            6,
            "198.51.100.9",
            "10.128.2.6",
            "outside, source preserved",
        ),
        to("b", 6, "2001:db8::9", "fd01:0:0:2::6", "outside, IPv6"),
        Case {
            entered: Some("c"),
            ..to(
                "a",
                5,
                "10.128.2.1",
                "10.128.2.5",
                "a joined project, hidden behind the node",
            )
        },
        Case {
            entered: Some("g"),
            ..to(
                "b",
                6,
                "192.168.50.11",
                "10.128.2.6",
                "a global project, hidden behind the node",
            )
        },
        Case {
            entered: Some("b"),
            ..out(
                "10.128.2.1",
                "10.128.4.5",
                "hidden behind the node: the receiving node judges by the network",
            )
        },
        out("10.128.2.1", "10.128.4.5", "the node to a remote pod"),
        out(
            "10.128.2.5",
            "10.128.4.5",
            "a pod's translated service packet",
        ),
        out("fd01:0:0:2::1", "fd01:0:0:4::5", "the node, IPv6"),
    ]
}

fn traffic(rig: &Rig) -> Vec<(&'static str, TrafficRow)> {
    let pods = crate::rig::PODS.iter();
    pods.map(|(pod, _)| {
        (
            *pod,
            observe::maps::traffic(&rig.maps, interface(pod)).unwrap(),
        )
    })
    .collect()
}

#[test]
fn forwarded_packets() {
    with_rig(|rig| {
        for Case {
            why,
            program,
            on,
            entered,
            frame,
            code,
            macs,
            sent,
            received,
        } in cases()
        {
            let before = traffic(rig);
            let bytes = frame.bytes();
            let entered = entered.map_or(0, interface);
            let (returned, out) = rig.run_entered(program, entered, interface(on), &bytes);
            assert_eq!(returned, code, "{program}: {why}");

            let mut expected = bytes.clone();
            if let Some((dst, src)) = macs {
                expected[..6].copy_from_slice(&dst);
                expected[6..12].copy_from_slice(&src);
            }
            assert_eq!(
                out, expected,
                "{program}: {why}: only the MAC addresses may change"
            );

            for ((pod, mut row), (_, after)) in before.into_iter().zip(traffic(rig)) {
                let len = bytes.len() as u64;
                if sent == Some(pod) {
                    row.from_packets += 1;
                    row.from_bytes += len;
                }
                if received == Some(pod) {
                    row.to_packets += 1;
                    row.to_bytes += len;
                }
                assert_eq!(after, row, "{program}: {why}: counters of {pod}");
            }
        }
        let drops = observe::maps::drops_by_reason(&rig.maps).unwrap();
        assert!(drops.is_empty(), "nothing of this is a drop: {drops:?}");
        assert_eq!(rig.events(), vec![]);
    });
}

/// A shaped pod gets its packets through its device's queue: `bpf_redirect` instead of `bpf_redirect_peer`. Both return
/// `TCX_REDIRECT`, so that a test run only shows that the row is understood; where the packet goes is for the lab.
#[test]
fn a_shaped_pod_is_redirected_too() {
    with_rig(|rig| {
        let tables = observe::maps::tables(&rig.maps).unwrap();
        let address = std::net::IpAddr::from([10, 128, 2, 7]).into();
        let mut row = tables.endpoints[&address];
        row.flags |= endpoint_flag::SHAPED;
        rig.write(&[Write::Endpoint(address, Some(row))]);
        let bytes = frame("10.128.2.5", "10.128.2.7").bytes();
        let (code, out) = rig.run("from_pod", interface("a"), &bytes);
        assert_eq!(code, REDIRECT);
        assert_eq!(out[..6], pod_mac([10, 128, 2, 7].into()));
    });
}

/// A pod without a row in TRAFFIC is forwarded all the same: counting must not decide.
#[test]
fn missing_counters_stop_nothing() {
    with_rig(|rig| {
        rig.maps.forget(interface("a")).unwrap();
        let (code, _) = rig.run(
            "from_pod",
            interface("a"),
            &frame("10.128.2.5", "10.128.2.7").bytes(),
        );
        assert_eq!(code, REDIRECT);
        assert_eq!(
            observe::maps::traffic(&rig.maps, interface("a")).unwrap(),
            TrafficRow::default()
        );
        assert_eq!(
            observe::maps::traffic(&rig.maps, interface("c"))
                .unwrap()
                .to_packets,
            1
        );
    });
}
