//! Frames, byte by byte.

use std::net::{IpAddr, SocketAddr};

pub type Mac = [u8; 6];

const UDP: u8 = 17;

/// Ethernet II.
pub fn ethernet(source: Mac, target: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&target[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// A whole frame with a UDP datagram in it; both addresses are of one family.
pub fn udp(macs: (Mac, Mac), source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    framed(
        macs,
        source.ip(),
        target.ip(),
        UDP,
        &udp_datagram(source, target, payload),
    )
}

/// A UDP datagram with its checksum.
pub fn udp_datagram(source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = [
        &source.port().to_be_bytes()[..],
        &target.port().to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    let pseudo = pseudo(source.ip(), target.ip(), UDP, datagram.len());
    let sum = checksum(&[&pseudo, &datagram]).to_be_bytes();
    datagram[6..8].copy_from_slice(&sum);
    datagram
}

/// What checksums cover beside the payload (RFC 768, RFC 8200 section 8.1).
pub fn pseudo(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    [
        &octets(source)[..],
        &octets(target),
        &[0, protocol],
        &length,
    ]
    .concat()
}

/// A whole frame with an IP packet in it.
pub fn framed(
    macs: (Mac, Mac),
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ethertype = if source.is_ipv4() { 0x0800 } else { 0x86dd };
    ethernet(
        macs.0,
        macs.1,
        ethertype,
        &packet(source, target, protocol, payload),
    )
}

/// An IP packet.
pub fn packet(source: IpAddr, target: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let (from, to) = (octets(source), octets(target));
    let header = if source.is_ipv4() {
        ipv4(&from, &to, protocol, length)
    } else {
        ipv6(&from, &to, protocol, length)
    };
    [&header, payload].concat()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// RFC 791
fn ipv4(source: &[u8], target: &[u8], protocol: u8, payload: u16) -> Vec<u8> {
    let total = (20 + payload).to_be_bytes();
    let mut header = [
        &[0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, protocol, 0, 0][..],
        source,
        target,
    ]
    .concat();
    let sum = checksum(&[&header]).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    header
}

/// RFC 8200
fn ipv6(source: &[u8], target: &[u8], protocol: u8, payload: u16) -> Vec<u8> {
    let length = payload.to_be_bytes();
    [
        &[0x60, 0, 0, 0, length[0], length[1], protocol, 64][..],
        source,
        target,
    ]
    .concat()
}

/// RFC 7348: the eight bytes before the inner frame.
pub fn vxlan(vnid: u32, inner: &[u8]) -> Vec<u8> {
    [&[0x08, 0, 0, 0][..], &(vnid << 8).to_be_bytes(), inner].concat()
}

/// An ARP request (RFC 826): who has `target`?
pub fn arp(mac: Mac, source: IpAddr, target: IpAddr) -> Vec<u8> {
    let body = [
        &[0, 1, 0x08, 0, 6, 4, 0, 1][..],
        &mac,
        &octets(source),
        &[0; 6],
        &octets(target),
    ]
    .concat();
    ethernet(mac, [0xff; 6], 0x0806, &body)
}

/// RFC 1071, over parts of even length but for the last.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
