//! Checksums, extension headers and options of such frames.

use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _};

use super::frames::{ICMP, ICMPV6, TCP, UDP};
use crate::frame::{checksum, pseudo};

/// Right checksums: wrong ones end in the kernel before anything else is tried.
pub fn sum(protocol: u8, source: IpAddr, target: IpAddr, bytes: &mut [u8]) {
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return,
    };
    if bytes.len() < at + 2 {
        return;
    }
    bytes[at..at + 2].fill(0);
    let sum = if protocol == ICMP {
        checksum(&[bytes])
    } else {
        checksum(&[&pseudo(source, target, protocol, bytes.len()), bytes])
    };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// IPv6 extension headers before the payload.
pub fn extended(
    rng: &mut StdRng,
    protocol: u8,
    payload: &[u8],
    marker: &[u8; 16],
) -> (u8, Vec<u8>) {
    let mut next = protocol;
    let mut bytes = payload.to_vec();
    for _ in 0..rng.random_range(1..9) {
        let kind = *[0, 43, 44, 51, 60].choose(rng).unwrap_or(&60);
        let mut header = match kind {
            44 => {
                let place: u16 = rng.random_range(0..300);
                [&[next, 0][..], &place.to_be_bytes(), &[0, 0, 0, 7]].concat()
            }
            43 => [
                &[
                    next,
                    2,
                    rng.random_range(0..5),
                    rng.random_range(0..2),
                    0,
                    0,
                    0,
                    0,
                ][..],
                marker,
            ]
            .concat(),
            _ => vec![next, 0, 1, 4, 0, 0, 0, 0],
        };
        header.extend(&bytes);
        bytes = header;
        next = kind;
    }
    (next, bytes)
}

/// IPv4 options behind the header: source routes, record route, timestamps, noise.
pub fn with_options(rng: &mut StdRng, packet: &[u8], station: [u8; 4]) -> Vec<u8> {
    let mut options = match rng.random_range(0..3) {
        0 => [&[0x83, 7, 4][..], &station, &[0]].concat(),
        1 => vec![0x94, 4, 0, 0],
        _ => {
            let mut noise = vec![0; 4 * rng.random_range(1..10)];
            rng.fill_bytes(&mut noise);
            noise
        }
    };
    options.truncate(40);
    let words = u8::try_from(5 + options.len() / 4).unwrap_or(15);
    let (header, rest) = packet.split_at(20);
    let mut bytes = [header, &options, rest].concat();
    bytes[0] = 0x40 | words;
    let total = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes
}

pub fn fix_checksum(bytes: &mut [u8]) {
    let header = usize::from(bytes[0] & 0x0f) * 4;
    bytes[10..12].fill(0);
    let sum = checksum(&[&bytes[..header.min(bytes.len())]]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}
