//! Bytes as a DNS message, and as a frame that carries one: nothing panics, and what is found is within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_ebpf::dns::{InOrder, RECORDS, Reader, carrier};
use weft_ebpf::packet::Payload;

fuzz_target!(|bytes: &[u8]| {
    let mut payload = Payload::default();
    if payload.find(bytes) {
        let _found = carrier::find(bytes, &payload);
    }
    let mut reader = Box::new(Reader::new(bytes));
    if reader.read_question::<InOrder>().is_err() {
        return;
    }
    let mut at = 0;
    while let Some(next) = reader.above(at) {
        assert!(next > at);
        assert_eq!(reader.name(next).0[255], 0);
        at = next;
    }
    let _outcome = reader.read_answers::<InOrder>();
    assert!(reader.count() <= RECORDS);
    for index in 0..reader.count() {
        assert!(reader.found(index).1 < 1 << 31);
    }
});
