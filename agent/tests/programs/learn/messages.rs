//! Queries and answers.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

pub fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

/// A question for IPv4 addresses.
pub fn query(id: u16, of: &str) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name(of), RecordType::A));
    message.set_edns(edns());
    message
}

/// An answer with addresses that hold for a minute.
pub fn answer(id: u16, of: &str, addresses: &[IpAddr]) -> Message {
    let mut message = bare_answer(id, of);
    for address in addresses {
        message.add_answer(record(of, 60, *address));
    }
    message.set_edns(edns());
    message
}

/// An answer without records.
pub fn bare_answer(id: u16, of: &str) -> Message {
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name(of), RecordType::A));
    message
}

pub fn record(owner: &str, ttl: u32, address: IpAddr) -> Record {
    Record::from_rdata(name(owner), ttl, RData::from(address))
}

pub fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

fn edns() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    edns
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// As on TCP: behind its length.
pub fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), &bytes[..]].concat()
}
