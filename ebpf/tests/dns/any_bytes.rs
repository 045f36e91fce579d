//! Bytes of any kind: nothing panics, and work is bounded.

use std::cell::Cell;

use hickory_proto::op::MessageType;
use proptest::prelude::*;
use weft_ebpf::dns::carrier;
use weft_ebpf::dns::{MESSAGE_BYTES, RECORDS, Reader, Repeat, Step};
use weft_ebpf::packet::Payload;

use super::messages::{address, message, name};

thread_local! {
    static ROUNDS: Cell<u32> = const { Cell::new(0) };
}

/// Counts rounds.
struct Counted;

impl Repeat for Counted {
    fn repeat<S, F: Step<S>>(times: u32, state: &mut S) {
        for index in 0..times {
            ROUNDS.set(ROUNDS.get() + 1);
            if !F::step(state, index) {
                return;
            }
        }
    }
}

/// Reads everything there is to read; tells in how many rounds.
pub fn read_all(bytes: &[u8]) -> u32 {
    ROUNDS.set(0);
    let mut reader = Box::new(Reader::new(bytes));
    if reader.read_question::<Counted>().is_ok() {
        let mut at = 0;
        while let Some(next) = reader.above(at) {
            assert!(next > at && reader.name(next).0[255] == 0);
            at = next;
        }
        // Whatever it says, found is what was found.
        let _outcome = reader.read_answers::<Counted>();
        assert!(reader.count() <= RECORDS);
        for n in 0..reader.count() {
            let (_, ttl) = reader.found(n);
            assert!(ttl < 1 << 31);
        }
    }
    ROUNDS.get()
}

/// Labels and words of the question, and every piece of the answers.
const MOST: u32 = 128 + 32 + MESSAGE_BYTES / 2 + RECORDS;

fn template() -> Vec<u8> {
    let of = name("www.example.com");
    let mut message = message(MessageType::Response, &of);
    for n in 0..5 {
        message.add_answer(address(&of, 60, [192, 0, 2, n].into()));
    }
    message.to_vec().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read_all(&bytes) <= MOST);
    }

    #[test]
    fn behind_a_good_question(bytes in proptest::collection::vec(any::<u8>(), 0..600), answers: u16) {
        let mut message = template()[..33].to_vec();
        message[6..8].copy_from_slice(&answers.to_be_bytes());
        message.extend(bytes);
        prop_assert!(read_all(&message) <= MOST);
    }

    #[test]
    fn changed_in_places(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = template();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(read_all(&bytes) <= MOST);
    }

    #[test]
    fn frames(kind in prop_oneof![Just([8_u8, 0]), Just([0x86, 0xdd])], bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let frame = [&[0; 12][..], &kind, &bytes].concat();
        let mut payload = Payload::default();
        if payload.find(&frame[..]) {
            // There is nothing to say of it but that it is found or not.
            let _found = carrier::find(&frame[..], &payload);
        }
    }
}

/// The message with the most pieces: labels of one byte, without end.
#[test]
fn the_most_work() {
    let mut bytes = template()[..33].to_vec();
    bytes[6..8].copy_from_slice(&[0xff, 0xff]);
    while bytes.len() < MESSAGE_BYTES as usize {
        bytes.extend([1, b'x']);
    }
    let rounds = read_all(&bytes);
    assert!(rounds > 2000 && rounds <= MOST, "{rounds}");
    assert_eq!(
        read_all(&[bytes, vec![1; 4096]].concat()),
        rounds,
        "no more is read"
    );
}
