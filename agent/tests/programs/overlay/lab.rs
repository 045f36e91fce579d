//! The rig with a real overlay device, a peer beyond it and a pod in a namespace.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use weft_agent::apply::links::attach;
use weft_agent::bpf::hooks::{Attachment, OVERLAY_HOOKS, POD_HOOKS};
use weft_ebpf::rows::{GATEWAY_MAC, OVERLAY_MAC};
use weft_netns::NetNs;

use crate::frames::{Frame, pod_mac};
use crate::rig::{NODE, PEER, Rig, VXLAN_PORT, index, sh};

pub const STRANGER: &str = "192.168.50.13";
pub const POD: &str = "10.128.2.5";
pub const REMOTE: &str = "10.128.4.5";
pub const PORT: u16 = 7000;

/// The rig with an underlay, an overlay device and pod `a` in a namespace.
pub struct Lab {
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

pub fn lab(rig: &mut Rig) -> Lab {
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
    pub fn underlay(&self, address: &str, port: u16) -> UdpSocket {
        let address = (address.parse::<IpAddr>().unwrap(), port);
        self.peer.run(|| socket(address)).unwrap()
    }

    pub fn pod(&self, port: u16) -> UdpSocket {
        let address = (POD.parse::<IpAddr>().unwrap(), port);
        self.pod.run(|| socket(address)).unwrap()
    }
}

pub fn socket(address: (IpAddr, u16)) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

/// Sends a frame through the overlay (RFC 7348).
pub fn send(socket: &UdpSocket, vni: u32, frame: &Frame) {
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
pub fn receive(socket: &UdpSocket, why: &str) -> IpAddr {
    let mut buffer = [0; 64];
    let (len, from) = socket
        .recv_from(&mut buffer)
        .unwrap_or_else(|e| panic!("{why}: {e}"));
    assert_eq!(&buffer[..len], b"weft", "{why}");
    from.ip()
}
