//! A real overlay device: what needs overlay metadata, and what the packets look like outside.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use weft_agent::apply::links::{Attachment, OVERLAY_HOOKS, POD_HOOKS, attach};
use weft_agent::observe;
use weft_core::compile::project_key;
use weft_ebpf::event::{DropEvent, hook};
use weft_ebpf::reason::DropReason::{self, *};
use weft_ebpf::rows::{GATEWAY_MAC, OVERLAY_MAC, ProjectKey, VNID_CLOSED};
use weft_netns::NetNs;

use crate::frames::{Frame, frame, pod_mac};
use crate::rig::{NODE, PEER, Rig, VXLAN_PORT, index, interface, sh, vnid, with_rig};

const STRANGER: &str = "192.168.50.13";
const POD: &str = "10.128.2.5";
const REMOTE: &str = "10.128.4.5";
const PORT: u16 = 7000;

/// The rig with an underlay, an overlay device and pod `a` in a namespace.
struct Lab {
    peer: NetNs,
    pod: NetNs,
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}

fn namespace() -> (NetNs, String) {
    let ns = NetNs::create().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), ns.as_fd().as_raw_fd());
    (ns, path)
}

fn lab(rig: &mut Rig) -> Lab {
    let (peer, peer_path) = namespace();
    let (pod, pod_path) = namespace();
    let gateway = mac(GATEWAY_MAC);
    sh(&format!(
        "ip link add eth0 type veth peer name eth0 netns {peer_path}"
    ));
    sh(&format!(
        "ip addr add {NODE}/24 dev eth0 && ip link set eth0 up && ip link set lo up"
    ));
    sh(&format!(
        "ip link add weft0 address {} type vxlan external nolearning dstport {VXLAN_PORT}",
        mac(OVERLAY_MAC)
    ));
    sh("ip link set weft0 arp off up && ip addr add 10.128.2.1/32 dev weft0");
    sh("ip route add 10.128.0.0/14 dev weft0 src 10.128.2.1");
    sh(&format!(
        "ip link set weft-a address {gateway} arp off up && ip link set a0 netns {pod_path}"
    ));
    let own = mac(pod_mac(POD.parse().unwrap()));
    pod.run(|| {
        sh("ip link set lo up && ip link set a0 name eth0");
        sh(&format!(
            "ip link set eth0 address {own} up && ip addr add {POD}/32 dev eth0"
        ));
        sh("ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1 dev eth0");
        sh(&format!(
            "ip neigh add 169.254.1.1 lladdr {gateway} dev eth0 nud permanent"
        ));
    })
    .unwrap();
    peer.run(|| {
        sh(&format!(
            "ip addr add {PEER}/24 dev eth0 && ip addr add {STRANGER}/24 dev eth0"
        ));
        sh("ip link set eth0 up && ip link set lo up");
    })
    .unwrap();
    rig.world.overlay_ifindex = index("weft0");
    rig.restore();
    let how = Attachment::probe();
    let ebpf = &mut rig.object.ebpf;
    attach(ebpf, &rig.pins, how, "weft0", &OVERLAY_HOOKS, true).unwrap();
    attach(ebpf, &rig.pins, how, "weft-a", &POD_HOOKS, true).unwrap();
    Lab { peer, pod }
}

impl Lab {
    /// A socket of a node of the underlay.
    fn underlay(&self, address: &str, port: u16) -> UdpSocket {
        let address = (address.parse::<IpAddr>().unwrap(), port);
        self.peer.run(|| socket(address)).unwrap()
    }

    fn pod(&self, port: u16) -> UdpSocket {
        let address = (POD.parse::<IpAddr>().unwrap(), port);
        self.pod.run(|| socket(address)).unwrap()
    }
}

fn socket(address: (IpAddr, u16)) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

/// Sends a frame through the overlay (RFC 7348).
fn send(socket: &UdpSocket, vni: u32, frame: &Frame) {
    let mut packet = vec![0x08, 0, 0, 0];
    packet.extend(&vni.to_be_bytes()[1..]);
    packet.push(0);
    let mut inner = frame.bytes();
    inner[..6].copy_from_slice(&OVERLAY_MAC);
    inner[6..12].copy_from_slice(&GATEWAY_MAC);
    packet.extend(inner);
    socket.send_to(&packet, (NODE, VXLAN_PORT)).unwrap();
}

/// Receives the payload of the rig's frames and tells who sent it.
#[track_caller]
fn receive(socket: &UdpSocket, why: &str) -> IpAddr {
    let mut buffer = [0; 64];
    let (len, from) = socket
        .recv_from(&mut buffer)
        .unwrap_or_else(|e| panic!("{why}: {e}"));
    assert_eq!(&buffer[..len], b"weft", "{why}");
    from.ip()
}

/// The next event of the overlay's programs; the kernel's own packets of the pod's interface have others.
#[track_caller]
fn event(rig: &mut Rig, why: &str) -> DropEvent {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut events = rig.events().into_iter();
        if let Some(event) = events.find(|event| event.hook == hook::FROM_OVERLAY) {
            return event;
        }
        assert!(Instant::now() < deadline, "{why}: no event in ten seconds");
        std::thread::yield_now();
    }
}

#[test]
fn admitted_packets_reach_their_pod() {
    with_rig(|rig| {
        let lab = lab(rig);
        let (peer, pod) = (lab.underlay(PEER, 0), lab.pod(PORT));
        for (vni, src, why) in [
            (10, REMOTE, "equal network numbers"),
            (0, REMOTE, "a global project"),
            (0, "10.128.4.1", "the peer itself, by its gateway"),
            (0, PEER, "the peer itself, by its underlay address"),
        ] {
            send(&peer, vni, &frame(src, POD).udp(PORT));
            assert_eq!(receive(&pod, why), src.parse::<IpAddr>().unwrap(), "{why}");
        }
        let traffic = observe::maps::traffic(&rig.maps, interface("a")).unwrap();
        assert_eq!(traffic.to_packets, 4);

        let host = socket(("10.128.2.1".parse().unwrap(), PORT));
        send(&peer, 11, &frame(REMOTE, "10.128.2.1").udp(PORT));
        assert_eq!(receive(&host, "the gateway").to_string(), REMOTE);
    });
}

#[test]
fn refused_packets_of_the_overlay() {
    /// Why, the reason, the outer source, the VNI, the inner frame, the receiver's project if it is known.
    type Case = (
        &'static str,
        DropReason,
        &'static str,
        u32,
        Frame,
        Option<&'static str>,
    );
    let pod6 = "fd01:0:0:2::5";
    let cases: Vec<Case> = vec![
        (
            "two projects",
            Isolated,
            PEER,
            11,
            frame(REMOTE, POD).udp(9),
            Some("a"),
        ),
        (
            "two projects, IPv6",
            Isolated,
            PEER,
            11,
            frame("fd01:0:0:4::5", pod6),
            Some("a"),
        ),
        (
            "a closed receiver",
            TargetProjectClosed,
            PEER,
            0,
            frame(REMOTE, "10.128.2.9"),
            Some("x"),
        ),
        (
            "no node has this address",
            UnknownPeer,
            STRANGER,
            10,
            frame(REMOTE, POD),
            None,
        ),
        (
            "of this node",
            ForeignSource,
            PEER,
            10,
            frame("10.128.2.7", POD),
            None,
        ),
        (
            "of this node's gateway",
            ForeignSource,
            PEER,
            10,
            frame("10.128.2.1", POD),
            None,
        ),
        (
            "of no node",
            ForeignSource,
            PEER,
            10,
            frame("10.128.100.1", POD),
            None,
        ),
        (
            "of no pod",
            ForeignSource,
            PEER,
            10,
            frame("198.51.100.9", POD),
            None,
        ),
        (
            "of no pod, IPv6",
            ForeignSource,
            PEER,
            10,
            frame("2001:db8::9", pod6),
            None,
        ),
        (
            "of a service",
            ForeignSource,
            PEER,
            10,
            frame("172.30.0.10", POD),
            None,
        ),
        (
            "nobody here",
            NoSuchPod,
            PEER,
            10,
            frame(REMOTE, "10.128.3.200"),
            None,
        ),
        (
            "the sender's own",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "10.128.4.6"),
            None,
        ),
        (
            "of no node",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "10.128.100.1"),
            None,
        ),
        (
            "outside",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "198.51.100.9"),
            None,
        ),
        (
            "a service",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "172.30.0.10"),
            None,
        ),
        (
            "multicast",
            NotForThisNode,
            PEER,
            10,
            frame(REMOTE, "224.0.0.5"),
            None,
        ),
    ];
    with_rig(|rig| {
        let lab = lab(rig);
        for (why, reason, from, vni, frame, to) in cases {
            let why = format!("{reason:?}: {why}");
            let before = observe::maps::drops_by_reason(&rig.maps).unwrap();
            send(&lab.underlay(from, 0), vni, &frame);
            let event = event(rig, &why);
            let len = frame.bytes().len();
            let expected = DropEvent {
                time: event.time,
                src_project: ProjectKey(0),
                dst_project: to.map_or(ProjectKey(0), project_key),
                src: frame.src.into(),
                dst: frame.dst.into(),
                src_vnid: if to.is_some() { vni } else { VNID_CLOSED },
                dst_vnid: to.map_or(VNID_CLOSED, vnid),
                reason: reason as u32,
                ifindex: index("weft0"),
                len: u32::try_from(len).unwrap(),
                hook: hook::FROM_OVERLAY,
                src_port: frame.src_port,
                dst_port: frame.dst_port,
                proto: frame.proto,
                reserved: [0; 7],
                rule: 0,
            };
            assert_eq!(event, expected, "{why}");

            let packets = |drops: &std::collections::BTreeMap<DropReason, _>| {
                drops
                    .get(&reason)
                    .map_or(0, |row: &weft_ebpf::rows::DropRow| row.packets)
            };
            let after = observe::maps::drops_by_reason(&rig.maps).unwrap();
            assert_eq!(packets(&after), packets(&before) + 1, "{why}");
        }
        // The receiver is charged, whoever refused it.
        let charged = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
        let row = charged[&(interface("a"), Isolated)];
        assert_eq!(row.packets, 2, "both families");
    });
}

/// What leaves carries the sender's network number and says nothing of this node's MAC addresses.
#[test]
fn packets_to_the_overlay_carry_the_senders_number() {
    with_rig(|rig| {
        let lab = lab(rig);
        let peer = lab.underlay(PEER, VXLAN_PORT);
        let host = socket(("10.128.2.1".parse().unwrap(), 0));
        for (sender, src, vni, why) in [
            (lab.pod(0), POD, 10_u32, "a pod's, by redirection"),
            (host, "10.128.2.1", 0, "the node's, by its route"),
        ] {
            sender.send_to(b"weft", (REMOTE, PORT)).unwrap();
            let mut buffer = [0; 256];
            let (len, from) = peer
                .recv_from(&mut buffer)
                .unwrap_or_else(|e| panic!("{why}: {e}"));
            assert_eq!(from.ip().to_string(), NODE, "{why}: outer source");
            let (header, inner) = buffer[..len].split_at(8);
            assert_eq!(header[0], 0x08, "{why}: the VNI is valid");
            assert_eq!(header[4..7], vni.to_be_bytes()[1..], "{why}: VNI");
            assert_eq!(inner[..6], OVERLAY_MAC, "{why}");
            assert_eq!(
                inner[6..12],
                GATEWAY_MAC,
                "{why}: not the receiving device's own"
            );
            let inner: &[u8] = inner;
            let mut packet = weft_ebpf::packet::Packet::default();
            weft_ebpf::packet::parse(inner, &mut packet).unwrap();
            assert_eq!(packet.src.to_ip().to_string(), src, "{why}");
            assert_eq!(packet.dst.to_ip().to_string(), REMOTE, "{why}");
            assert_eq!(packet.dst_port, PORT, "{why}");
        }
    });
}
