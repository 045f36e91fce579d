//! Names of questions.

use weft_ebpf::dns::{Fault, InOrder, Reader};
use weft_ebpf::rows::dns::NAME_BYTES;

use super::messages::{header, question};

/// The wire form of labels.
fn wire(labels: &[&[u8]]) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(*label);
    }
    wire.push(0);
    wire
}

fn read(name: &[u8]) -> Result<Box<Reader>, Fault> {
    let mut reader = Box::new(Reader::new(&[header(0, 1, 0), question(name, 1)].concat()));
    reader.read_question::<InOrder>().map(|()| reader)
}

fn key(name: &[u8]) -> [u8; NAME_BYTES] {
    let mut key = [0; NAME_BYTES];
    key[..name.len()].copy_from_slice(name);
    key
}

/// The domains above, as the data path looks them up.
fn above(reader: &Reader) -> Vec<[u8; NAME_BYTES]> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = reader.above(at) {
        found.push(reader.name(next).0);
        at = next;
    }
    found
}

#[test]
fn lower_case_and_domains_above() {
    let reader = read(&wire(&[b"Www", b"EXAMPLE", b"c0M-_Z"])).unwrap();
    let lower = wire(&[b"www", b"example", b"c0m-_z"]);
    assert_eq!(reader.name(0).0, key(&lower));
    let expected = [key(&lower[4..]), key(&lower[12..])];
    assert_eq!(above(&reader), expected, "every domain above but the root");
    let same = read(&lower).unwrap();
    assert_eq!(reader.name_hash(), same.name_hash());
    let other = read(&wire(&[b"www", b"example", b"c0m-_y"])).unwrap();
    assert_ne!(reader.name_hash(), other.name_hash());
}

/// Bytes that are no letters stay as they are, those beside the letters' ranges too.
#[test]
fn only_letters_change() {
    let all: Vec<u8> = (0..=255).collect();
    for label in all.chunks(63) {
        let reader = read(&wire(&[label])).unwrap();
        let lower = label.to_ascii_lowercase();
        assert_eq!(reader.name(0).0, key(&wire(&[&lower])));
    }
}

#[test]
fn the_longest_names() {
    // 255 bytes: three labels of 63 and one of 61.
    let longest = wire(&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 61]]);
    assert_eq!(longest.len(), 255);
    let reader = read(&longest).unwrap();
    assert_eq!(reader.name(0).0, key(&longest));
    assert_eq!(above(&reader).len(), 3);
    let longer = wire(&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 62]]);
    assert_eq!(read(&longer).err(), Some(Fault::Unreadable), "256 bytes");

    let most = wire(&[&b"x"[..]; 127]);
    assert_eq!(most.len(), 255);
    let reader = read(&most).unwrap();
    assert_eq!(reader.name(0).0, key(&most));
    assert_eq!(above(&reader).len(), 126);
    assert_eq!(
        read(&wire(&[&b"x"[..]; 128])).err(),
        Some(Fault::Unreadable),
        "128 labels"
    );
}

#[test]
fn the_root() {
    let reader = read(&[0]).unwrap();
    assert_eq!(reader.name(0).0, key(&[]));
    assert_eq!(above(&reader), Vec::<[u8; NAME_BYTES]>::new());
}

#[test]
fn names_that_are_none() {
    for (name, why) in [
        (&[0xc0, 12][..], "a pointer to itself"),
        (&[0xc0, 0], "a pointer into the header"),
        (&[3, b'w', b'w', b'w', 0xc0, 12], "a pointer behind labels"),
        (&[0x40, 0], "a length of the reserved kind"),
        (&[63, b'x'], "a label beyond the message"),
    ] {
        assert_eq!(read(name).err(), Some(Fault::Unreadable), "{why}");
    }
}

#[test]
fn headers() {
    let name = wire(&[b"a"]);
    let of = |header: Vec<u8>, kind: u16| {
        let bytes = [header, question(&name, kind)].concat();
        Reader::new(&bytes).read_question::<InOrder>()
    };
    assert_eq!(of(header(0x8180, 1, 0), 1), Ok(()));
    assert_eq!(of(header(0, 1, 0), 28), Ok(()), "AAAA");
    assert_eq!(of(header(0, 1, 0), 255), Ok(()), "ANY");
    assert_eq!(of(header(0, 1, 0), 16), Err(Fault::Foreign), "TXT");
    assert_eq!(
        of(header(0x2800, 1, 0), 1),
        Err(Fault::Foreign),
        "an update"
    );
    assert_eq!(
        of(header(0, 0, 0), 1),
        Err(Fault::Unreadable),
        "no question"
    );
    assert_eq!(
        of(header(0, 2, 0), 1),
        Err(Fault::Unreadable),
        "two questions"
    );
    let mut chaos = [header(0, 1, 0), question(&name, 1)].concat();
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(
        Reader::new(&chaos).read_question::<InOrder>(),
        Err(Fault::Foreign)
    );
    for len in 0..chaos.len() {
        assert!(
            Reader::new(&chaos[..len])
                .read_question::<InOrder>()
                .is_err(),
            "{len} bytes"
        );
    }
}
