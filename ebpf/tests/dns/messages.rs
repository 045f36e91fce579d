//! Messages to read.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use weft_ebpf::dns::{Fault, InOrder, Reader};

pub fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

pub fn message(kind: MessageType, of: &Name) -> Message {
    let mut message = Message::new(7, kind, OpCode::Query);
    message.add_query(Query::query(of.clone(), RecordType::A));
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    message
}

pub fn address(owner: &Name, ttl: u32, address: IpAddr) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::from(address))
}

pub fn alias(owner: &Name, ttl: u32, target: &Name) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target.clone())))
}

/// What a message says: its addresses and how long they hold.
pub type Addresses = Vec<(IpAddr, u32)>;

/// Reads a whole message: question, then answers.
pub fn read(bytes: &[u8]) -> Result<(Box<Reader>, Result<(), Fault>), Fault> {
    let mut reader = Box::new(Reader::new(bytes));
    reader.read_question::<InOrder>()?;
    let answers = reader.read_answers::<InOrder>();
    Ok((reader, answers))
}

pub fn addresses(reader: &Reader) -> Addresses {
    (0..reader.count())
        .map(|n| {
            let (addr, ttl) = reader.found(n);
            (addr.to_ip(), ttl)
        })
        .collect()
}

/// A header with these counts, for messages made by hand.
pub fn header(flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    [7, flags, questions, answers, 0, 0]
        .map(u16::to_be_bytes)
        .concat()
}

/// Type A (1) or another, class IN.
pub fn question(name: &[u8], kind: u16) -> Vec<u8> {
    [name, &kind.to_be_bytes(), &[0, 1]].concat()
}

pub fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let fixed = [
        &kind.to_be_bytes()[..],
        &[0, 1],
        &ttl.to_be_bytes(),
        &len.to_be_bytes(),
    ]
    .concat();
    [owner, &fixed, data].concat()
}
