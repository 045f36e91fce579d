//! Messages in packets.

use weft_ebpf::dns::carrier::{Carried, find, part};
use weft_ebpf::packet::Payload;

const MESSAGE: &[u8] = b"no message, but its bytes";

fn v4(proto: u8, flags: u8, transport: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + transport.len()).unwrap().to_be_bytes();
    let mut frame = vec![0; 12];
    frame.extend([
        8, 0, 0x45, 0, len[0], len[1], 0, 0, flags, 0, 64, proto, 0, 0,
    ]);
    frame.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend(transport);
    frame
}

fn udp(len: usize, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(len).unwrap().to_be_bytes();
    [&[0, 53, 0x80, 0, len[0], len[1], 0, 0], payload].concat()
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 53, 0x80, 0];
    header.extend([0; 8]);
    header.extend([0x60, 0x18, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    [&header, payload].concat()
}

fn carried(frame: &[u8]) -> Option<Carried> {
    let mut payload = Payload::default();
    payload.find(frame).then(|| find(frame, &payload))?
}

#[track_caller]
fn expect(frame: &[u8], offset: u32, len: usize, part: u32) {
    let carried = carried(frame).expect("a message");
    assert_eq!((carried.src_port, carried.dst_port), (53, 0x8000));
    assert_eq!(
        (carried.offset, carried.len as usize, carried.part),
        (offset, len, part)
    );
}

#[test]
fn datagrams() {
    let datagram = udp(8 + MESSAGE.len(), MESSAGE);
    expect(&v4(17, 0x40, &datagram), 42, MESSAGE.len(), part::WHOLE);
    let padded = [v4(17, 0x40, &datagram), vec![0; 9]].concat();
    expect(&padded, 42, MESSAGE.len(), part::WHOLE);
    let first = udp(2000, MESSAGE);
    expect(&v4(17, 0x20, &first), 42, MESSAGE.len(), part::FRAGMENT);
    assert_eq!(carried(&v4(17, 0, &first)), None, "longer than its packet");
    assert_eq!(carried(&v4(17, 0, &udp(8, b""))), None, "nothing in it");
    assert_eq!(
        carried(&v4(17, 0, &udp(3, MESSAGE))),
        None,
        "a length that cannot be"
    );
    let mut later = v4(17, 0, &datagram);
    later[21] = 1;
    assert_eq!(carried(&later), None, "a later fragment has no header");
}

/// A segment that is exactly one message proves no more than another one: the receiver decides where segments begin.
#[test]
fn streams() {
    let framed = |len: usize| [&u16::try_from(len).unwrap().to_be_bytes()[..], MESSAGE].concat();
    for len in [MESSAGE.len(), MESSAGE.len() - 1, MESSAGE.len() + 1, 4000] {
        let piece = tcp(&framed(len));
        expect(&v4(6, 0x40, &piece), 60, MESSAGE.len(), part::STREAM);
    }
    for payload in [&b""[..], b"\0", b"\0\0"] {
        assert_eq!(
            carried(&v4(6, 0x40, &tcp(payload))),
            None,
            "no message begins"
        );
    }
}

#[test]
fn over_ipv6() {
    let datagram = udp(8 + MESSAGE.len(), MESSAGE);
    let frame = |next: u8, extension: &[u8]| {
        let len = u16::try_from(extension.len() + datagram.len())
            .unwrap()
            .to_be_bytes();
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, len[0], len[1], next, 64]);
        frame.extend([0x20; 32]);
        [&frame, extension, &datagram].concat()
    };
    expect(&frame(17, &[]), 62, MESSAGE.len(), part::WHOLE);
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    expect(&frame(60, &options), 70, MESSAGE.len(), part::WHOLE);
    let first = [17, 0, 0, 1, 0, 0, 0, 9];
    expect(&frame(44, &first), 70, MESSAGE.len(), part::FRAGMENT);
    let only = [17, 0, 0, 0, 0, 0, 0, 9];
    expect(&frame(44, &only), 70, MESSAGE.len(), part::WHOLE);
    let later = [17, 0, 0, 8, 0, 0, 0, 9];
    assert_eq!(carried(&frame(44, &later)), None);
}
