//! What all pods of a node share is not one pod's to use up.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use weft_netns::NetNs;
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, two_nodes};
use crate::frame::{framed, udp_datagram};
use crate::wire::{Injector, mac};

const UDP: u8 = 17;
const PORT: u16 = 7000;
const VXLAN: u16 = 4789;
/// More fragments follow (RFC 791).
const MORE: u16 = 0x2000;
/// More than fill the memory in which a node puts fragments together, 4 MB.
const FLOOD: u16 = 20_000;

/// Sends `bytes` bytes in one datagram to a server that answers with their number; whether that comes.
fn arrives(from: &NetNs, to: SocketAddr, bytes: usize) -> bool {
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send(&vec![b'x'; bytes])?;
        socket.recv(&mut [0; 8])
    };
    from.run(ask).unwrap().is_ok()
}

/// First fragments of packets that are never finished, to the gateway: the node's memory for them stays open to others.
#[test]
fn unfinished_packets_cost_no_other_pod_its_own() {
    let cluster = Cluster::up(&two_nodes());
    let attacker = cluster.pod("a/attacker", "node1");
    let other = cluster.pod("b/other", "node1");
    let node = cluster.host_netns("node1").unwrap();
    let gateway = cluster.gateway("node1", false);
    let socket = node
        .run(|| UdpSocket::bind((gateway, PORT)))
        .unwrap()
        .unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let server = std::thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if length == 1 {
                return;
            }
            drop(socket.send_to(&length.to_be_bytes(), from));
        }
    });
    let to = SocketAddr::new(gateway, PORT);
    assert!(arrives(&other.netns, to, 5000), "before");

    let pods = cluster.pods("node1");
    let row = pods.iter().find(|pod| pod.name == attacker.name).unwrap();
    let out = Injector::open(&attacker.netns, "eth0");
    let macs = (out.mac, mac(&node, &row.interface));
    let datagram = udp_datagram((attacker.ips[0], PORT).into(), to, &[0; 1392]);
    let mut frame = framed(macs, attacker.ips[0], gateway, UDP, &datagram);
    // A first one that is dropped, to the overlay's port, and what would follow it.
    let forged = udp_datagram(
        (attacker.ips[0], PORT).into(),
        (gateway, VXLAN).into(),
        &[0; 1392],
    );
    let mut forged = framed(macs, attacker.ips[0], gateway, UDP, &forged);
    let place = |frame: &mut Vec<u8>, ident: u16, place: u16| {
        frame[18..20].copy_from_slice(&ident.to_be_bytes());
        frame[20..22].copy_from_slice(&place.to_be_bytes());
        fix_checksum(frame);
        out.send(frame);
    };
    for ident in 0..FLOOD {
        place(&mut forged, ident, MORE);
        place(&mut forged, ident, 175);
    }
    for ident in 0..FLOOD {
        place(&mut frame, ident, MORE);
    }
    eventually("the flood is dropped", || {
        cluster.pod_count("node1", &attacker.label(), "Fragments") > 2 * u64::from(FLOOD) - 100
    });
    for bytes in [2000, 5000, 40_000] {
        assert!(
            arrives(&other.netns, to, bytes),
            "{bytes} bytes of another pod"
        );
    }
    // Its own packets wait until the node has given up the unfinished ones; what needs no fragments goes on.
    assert!(arrives(&attacker.netns, to, 1000));
    assert!(!arrives(&attacker.netns, to, 5000));
    node.run(|| {
        UdpSocket::bind("0.0.0.0:0")
            .unwrap()
            .send_to(b"x", to)
            .unwrap()
    })
    .unwrap();
    server.join().unwrap();
}

/// Of an IPv4 header behind Ethernet's.
fn fix_checksum(frame: &mut [u8]) {
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = crate::frame::checksum(&[&frame[14..34]]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}
