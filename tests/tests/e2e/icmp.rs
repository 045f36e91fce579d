//! Echo requests, without the `ping` program.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use weft_netns::NetNs;

use crate::frame::checksum;

/// Sends one echo request (RFC 792, RFC 4443); whether the answer came in time.
pub fn ping(from: &NetNs, to: IpAddr, patience: Duration) -> bool {
    from.run(|| exchange(to, patience)).unwrap().unwrap()
}

fn exchange(to: IpAddr, patience: Duration) -> io::Result<bool> {
    let (family, protocol, request, answer) = if to.is_ipv6() {
        (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129)
    } else {
        (AddressFamily::Inet, SockProtocol::Icmp, 8, 0)
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    // What this type offers (connect, send, receive, time-out) is the same for every kind of IP socket.
    let socket = UdpSocket::from(raw);
    socket.connect((to, 0))?;
    let identity: [u8; 4] = rand::random();
    let mut packet = [&[request, 0, 0, 0][..], &identity, b"weft"].concat();
    if to.is_ipv4() {
        let sum = checksum(&[&packet]).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    socket.send(&packet)?;
    let end = Instant::now() + patience;
    let mut buffer = [0; 256];
    // An IPv4 raw socket hands the IP header over too.
    let at = if to.is_ipv4() { 20 } else { 0 };
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let message = buffer.get(at..length).unwrap_or_default();
        if message.first() == Some(&answer) && message.get(4..8) == Some(&identity) {
            return Ok(true);
        }
    }
}
