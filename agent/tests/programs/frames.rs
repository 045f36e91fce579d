//! Crafted frames.

use std::net::IpAddr;

use weft_ebpf::rows::GATEWAY_MAC;

/// A frame to be made.
#[derive(Clone, Debug)]
pub struct Frame {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub src_mac: [u8; 6],
    pub proto: u8,
    pub src_port: u16,
    pub dst_port: u16,
    /// IPv6 destination options before the payload.
    pub extensions: usize,
    /// Of TCP, RFC 9293 section 3.1.
    pub flags: u8,
    /// IPv4 options, or an IPv6 routing header, as they are.
    pub steering: Vec<u8>,
    /// IPv4: the first fragment of several.
    pub more_fragments: bool,
    pub payload: Vec<u8>,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

/// A TCP packet to port 80, from a MAC address that is made of its IPv4 source as a pod's is.
pub fn frame(src: &str, dst: &str) -> Frame {
    let src: IpAddr = src.parse().unwrap();
    Frame {
        src,
        dst: dst.parse().unwrap(),
        src_mac: pod_mac(src),
        proto: TCP,
        src_port: 33_000,
        dst_port: 80,
        extensions: 0,
        flags: SYN,
        steering: Vec::new(),
        more_fragments: false,
        payload: Vec::new(),
    }
}

/// A pod's MAC address; the pods of the rig have equal last bytes in both families.
pub fn pod_mac(address: IpAddr) -> [u8; 6] {
    match address {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            [0x0a, 0x58, a, b, c, d]
        }
        IpAddr::V6(a) => [0x0a, 0x58, 10, 128, 2, a.octets()[15]],
    }
}

impl Frame {
    pub fn udp(self, port: u16) -> Self {
        Self {
            proto: UDP,
            dst_port: port,
            payload: b"weft".to_vec(),
            ..self
        }
    }

    /// An ICMP message in place of the transport header, of the family's protocol.
    pub fn icmp(self, payload: Vec<u8>) -> Self {
        let proto = if self.src.is_ipv4() { ICMP } else { ICMPV6 };
        Self {
            proto,
            src_port: 0,
            dst_port: 0,
            payload,
            ..self
        }
    }

    pub fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    pub fn mac(self, src_mac: [u8; 6]) -> Self {
        Self { src_mac, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let payload = self.transport();
        let (kind, ip) = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let words = u8::try_from(5 + self.steering.len() / 4).unwrap();
                let mut ip = vec![0x40 | words, 0];
                ip.extend(length(20 + self.steering.len() + payload.len()));
                let flags = if self.more_fragments { 0x20 } else { 0x40 };
                ip.extend([0, 0, flags, 0, 64, self.proto, 0, 0]);
                ip.extend(src.octets());
                ip.extend(dst.octets());
                ip.extend(&self.steering);
                let sum = checksum(&ip);
                ip[10..12].copy_from_slice(&sum);
                (0x0800_u16, ip)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut ip = vec![0x60, 0, 0, 0];
                let behind = if self.extensions > 0 { 60 } else { self.proto };
                let first = if self.steering.is_empty() { behind } else { 43 };
                let extensions = self.extensions * 8 + self.steering.len();
                ip.extend(length(extensions + payload.len()));
                ip.extend([first, 64]);
                ip.extend(src.octets());
                ip.extend(dst.octets());
                if let [_, rest @ ..] = &self.steering[..] {
                    ip.push(behind);
                    ip.extend(rest);
                }
                for left in (0..self.extensions).rev() {
                    ip.extend([if left > 0 { 60 } else { self.proto }, 0, 1, 4, 0, 0, 0, 0]);
                }
                (0x86dd, ip)
            }
            mixed => panic!("two families: {mixed:?}"),
        };
        let mut frame = GATEWAY_MAC.to_vec();
        frame.extend(self.src_mac);
        frame.extend(kind.to_be_bytes());
        frame.extend(ip);
        frame.extend(payload);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = [self.src_port, self.dst_port]
            .map(u16::to_be_bytes)
            .concat();
        match self.proto {
            // No checksum: IPv4 allows it (RFC 768).
            UDP => {
                bytes.extend(length(8 + self.payload.len()));
                bytes.extend([0, 0]);
            }
            ICMP | ICMPV6 => return self.payload.clone(),
            _ => bytes.extend([
                0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0,
            ]),
        }
        bytes.extend(&self.payload);
        bytes
    }
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap().to_be_bytes()
}

/// RFC 1071
fn checksum(header: &[u8]) -> [u8; 2] {
    let words = header
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}
