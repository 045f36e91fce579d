//! Frames, written byte by byte from the RFCs.

use weft_ebpf::packet::{Packet, parse};
use weft_ebpf::reason::DropReason;

pub const SRC_MAC: [u8; 6] = [0x0a, 0x58, 10, 128, 2, 5];
pub const SRC_V4: [u8; 4] = [10, 128, 2, 5];
pub const DST_V4: [u8; 4] = [10, 129, 0, 7];
pub const SRC_V6: [u8; 16] = [0xfd, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5];
pub const DST_V6: [u8; 16] = [0xfd, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7];
pub const ETH: usize = 14;

/// Source port 4660, destination port 80, then some payload.
pub const L4: [u8; 12] = [0x12, 0x34, 0, 80, 0, 12, 0, 0, 1, 2, 3, 4];
pub const PORTS: (u16, u16) = (0x1234, 80);

pub fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x0a, 0x58, 0xa9, 0xfe, 1, 1];
    frame.extend(SRC_MAC);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 791: `options` a multiple of 4 bytes, `fragment` the flags and the offset.
pub fn ipv4(proto: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let header_len = 20 + options.len();
    let mut ip = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0];
    ip.extend(
        u16::try_from(header_len + payload.len())
            .unwrap()
            .to_be_bytes(),
    );
    ip.extend([0, 1]);
    ip.extend(fragment.to_be_bytes());
    ip.extend([64, proto, 0, 0]);
    ip.extend(SRC_V4);
    ip.extend(DST_V4);
    ip.extend(options);
    ip.extend(payload);
    ethernet(0x0800, &ip)
}

/// RFC 8200: `chain` is each extension header's own number and its bytes, whose first one is overwritten with the number of
/// what follows; `proto` is what the last one announces.
pub fn ipv6(chain: &[(u8, Vec<u8>)], proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (index, (_, bytes)) in chain.iter().enumerate() {
        let next = chain.get(index + 1).map_or(proto, |(number, _)| *number);
        let mut bytes = bytes.clone();
        bytes[0] = next;
        rest.extend(bytes);
    }
    rest.extend(payload);
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    ip.push(chain.first().map_or(proto, |(number, _)| *number));
    ip.push(64);
    ip.extend(SRC_V6);
    ip.extend(DST_V6);
    ip.extend(rest);
    ethernet(0x86dd, &ip)
}

pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const AUTHENTICATION: u8 = 51;
pub const DESTINATION: u8 = 60;

/// Hop-by-hop, routing or destination options of `units` 8-byte units (at least one).
pub fn options(number: u8, units: u8) -> (u8, Vec<u8>) {
    let mut bytes = vec![0xee; usize::from(units) * 8];
    bytes[1] = units - 1;
    (number, bytes)
}

/// Identification of fragments.
pub const IDENT: u32 = 0x1234_5678;

/// `offset` in 8-byte units.
pub fn fragment(offset: u16, more: bool) -> (u8, Vec<u8>) {
    let field = (offset << 3 | u16::from(more)).to_be_bytes();
    let ident = IDENT.to_be_bytes();
    let bytes = [&[0, 0], &field[..], &ident[..]];
    (FRAGMENT, bytes.concat())
}

/// RFC 4302: the length field counts 4-byte units minus two.
pub fn authentication(icv_words: u8) -> (u8, Vec<u8>) {
    let mut bytes = vec![0xaa; 12 + usize::from(icv_words) * 4];
    bytes[1] = 3 + icv_words - 2;
    (AUTHENTICATION, bytes)
}

pub fn parsed(frame: &[u8]) -> Result<Packet, DropReason> {
    let mut packet = Packet::default();
    parse(frame, &mut packet).map(|()| packet)
}

#[track_caller]
pub fn assert_ports(frame: &[u8], proto: u8, ports: (u16, u16), why: &str) {
    let packet = parsed(frame).unwrap_or_else(|reason| panic!("{why}: {reason:?}"));
    assert_eq!(
        (packet.proto, (packet.src_port, packet.dst_port)),
        (proto, ports),
        "{why}"
    );
}
