//! Answers that another implementation encodes, compression and all.

use std::net::IpAddr;

use hickory_proto::op::{MessageType, ResponseCode};
use hickory_proto::rr::Name;
use proptest::prelude::*;
use weft_ebpf::dns::Fault;

use super::messages::{address, addresses, alias, header, message, name, question, read, record};

/// One record of an answer: owner's number, TTL, an address or the number of the name it is an alias of.
type Piece = (usize, u32, Result<IpAddr, usize>);

fn any_name() -> impl Strategy<Value = Name> {
    proptest::collection::vec("[a-zA-Z0-9_]([a-zA-Z0-9-]{0,18}[a-zA-Z0-9])?", 1..8)
        .prop_map(|labels| name(&labels.join(".")))
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let data = prop_oneof![
        4 => any_address().prop_map(Ok),
        1 => (0..4_usize).prop_map(Err),
    ];
    (0..4_usize, 0..0x8000_0000_u32, data)
}

/// IPv4 in its mapped form is IPv4: a socket that connects there sends IPv4.
fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn all_addresses_are_found(
        names in proptest::collection::vec(any_name(), 4),
        pieces in proptest::collection::vec(any_piece(), 0..60),
    ) {
        let mut message = message(MessageType::Response, &names[0]);
        let mut aliases = Vec::new();
        let mut expected = Vec::new();
        for (owner, ttl, data) in pieces {
            message.add_answer(match data {
                Ok(ip) => {
                    expected.push((plain(ip), ttl));
                    address(&names[owner], ttl, ip)
                }
                Err(target) => {
                    aliases.push(ttl);
                    alias(&names[owner], ttl, &names[target])
                }
            });
        }
        for (_, ttl) in &mut expected {
            *ttl = aliases.iter().copied().fold(*ttl, u32::min);
        }
        let bytes = message.to_vec().unwrap();
        prop_assume!(bytes.len() <= 4096);
        let (reader, answers) = read(&bytes).unwrap();
        prop_assert_eq!(answers, Ok(()));
        prop_assert_eq!(&addresses(&reader), &expected);
        prop_assert!(reader.is_answer() && reader.is_success() && !reader.is_truncated());
        prop_assert_eq!(reader.id(), 7);

        let mut wire: Vec<u8> = Vec::new();
        for label in &names[0] {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend(label.to_ascii_lowercase());
        }
        wire.resize(256, 0);
        prop_assert_eq!(&reader.name(0).0[..], &wire[..]);

        // Cut anywhere, it says what it has, and that it is not all; behind the answers nothing is missed.
        for len in 0..bytes.len() {
            let Ok((reader, answers)) = read(&bytes[..len]) else { continue };
            let found = reader.count() as usize;
            prop_assert!(found <= expected.len());
            prop_assert!(answers.is_ok() || answers == Err(Fault::Unreadable));
            prop_assert!(answers.is_err() || found == expected.len());
        }
    }
}

#[test]
fn a_hundred_and_more() {
    let of = name("a.test");
    for (records, outcome) in [(100, Ok(())), (128, Ok(())), (129, Err(Fault::TooMany))] {
        let mut message = message(MessageType::Response, &of);
        for n in 0..records {
            message.add_answer(address(&of, 60, [10, 0, 0, n].into()));
        }
        let (reader, answers) = read(&message.to_vec().unwrap()).unwrap();
        assert_eq!(answers, outcome);
        assert_eq!(reader.count(), u32::from(records).min(128));
    }
}

#[test]
fn outcomes_and_flags() {
    let mut message = message(MessageType::Response, &name("a.test"));
    message.metadata.response_code = ResponseCode::NXDomain;
    message.metadata.truncation = true;
    let (reader, answers) = read(&message.to_vec().unwrap()).unwrap();
    assert_eq!(answers, Ok(()));
    assert!(!reader.is_success() && reader.is_truncated());
}

/// Owners that are skipped in whatever form: pointers to themselves, to the header, long chains of labels.
#[test]
fn owners_are_not_followed() {
    let labels = [&[1, b'x'].repeat(200)[..], &[0]].concat();
    for (owner, why) in [
        (&[0xc0, 29][..], "a pointer to itself"),
        (&[0xc0, 0], "into the header"),
        (&[0xff, 0xff], "beyond the message"),
        (&[1, b'a', 0xc0, 12], "labels and a pointer"),
        (&labels, "more labels than a name has"),
    ] {
        let bytes = [
            header(0x8180, 1, 2),
            question(&[1, b'a', 0], 1),
            record(owner, 1, 60, &[192, 0, 2, 1]),
            record(owner, 28, 60, &[0x20; 16]),
        ]
        .concat();
        let (reader, answers) = read(&bytes).unwrap();
        assert_eq!((answers, reader.count()), (Ok(()), 2), "{why}");
    }
}

#[test]
fn records_that_contradict_themselves() {
    let good = record(&[0xc0, 12], 1, 60, &[192, 0, 2, 1]);
    for (bad, why) in [
        (
            record(&[0xc0, 12], 1, 60, &[1, 2, 3]),
            "an IPv4 address of three bytes",
        ),
        (
            record(&[0xc0, 12], 28, 60, &[1; 4]),
            "an IPv6 address of four",
        ),
        (
            record(&[0x80, 12], 1, 60, &[1; 4]),
            "a reserved kind of label",
        ),
        (good[..good.len() - 1].to_vec(), "one that ends too early"),
        (vec![], "none where one is announced"),
    ] {
        let bytes = [
            header(0x8180, 1, 2),
            question(&[1, b'a', 0], 1),
            good.clone(),
            bad,
        ]
        .concat();
        let (reader, answers) = read(&bytes).unwrap();
        assert_eq!(answers, Err(Fault::Unreadable), "{why}");
        assert_eq!(reader.count(), 1, "{why}: what stands before it counts");
    }
}

/// Other types and classes are passed over; a TTL of more than 31 bits counts as zero (RFC 2181 section 8).
#[test]
fn other_records() {
    let mut chaos = record(&[0], 1, 60, &[192, 0, 2, 9]);
    chaos[4] = 3;
    let bytes = [
        header(0x8180, 1, 4),
        question(&[1, b'a', 0], 255),
        record(&[0], 16, 60, b"\x04text"),
        chaos,
        record(&[0], 46, 60, &[0; 30]),
        record(&[0], 1, 0x8000_0000, &[192, 0, 2, 1]),
    ]
    .concat();
    let (reader, answers) = read(&bytes).unwrap();
    assert_eq!(answers, Ok(()));
    assert_eq!(addresses(&reader), vec![([192, 0, 2, 1].into(), 0)]);
}
