//! What a zone's records shall be: dynamic updates (RFC 2136). One change takes effect as a whole.

use std::io;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::exchange::name;

/// Changes of one zone.
#[derive(Clone, Debug)]
pub struct Change {
    zone: String,
    names: Vec<(String, u32, Data)>,
}

#[derive(Clone, Debug)]
enum Data {
    Nothing,
    Addresses(Vec<IpAddr>),
    Alias(String),
}

impl Change {
    /// No change yet.
    pub fn of(zone: &str) -> Self {
        Self {
            zone: zone.to_owned(),
            names: Vec::new(),
        }
    }

    /// The name has these addresses and nothing else.
    #[must_use]
    pub fn addresses(mut self, name: &str, ttl: u32, addresses: &[IpAddr]) -> Self {
        let data = Data::Addresses(addresses.to_vec());
        self.names.push((name.to_owned(), ttl, data));
        self
    }

    /// The name is another name of `target` and nothing else.
    #[must_use]
    pub fn alias(mut self, name: &str, ttl: u32, target: &str) -> Self {
        let data = Data::Alias(target.to_owned());
        self.names.push((name.to_owned(), ttl, data));
        self
    }

    /// There is no such name.
    #[must_use]
    pub fn nothing(mut self, name: &str) -> Self {
        self.names.push((name.to_owned(), 0, Data::Nothing));
        self
    }

    /// The update message.
    pub(super) fn message(&self) -> io::Result<Message> {
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Update);
        message.add_query(Query::query(name(&self.zone)?, RecordType::SOA));
        for (owner, ttl, data) in &self.names {
            let owner = name(owner)?;
            // Section 2.5.3: class ANY and type ANY take away everything that the name has.
            let mut clear = Record::update0(owner.clone(), 0, RecordType::ANY);
            clear.dns_class = DNSClass::ANY;
            message.add_authority(clear.into_record_of_rdata());
            let new = match data {
                Data::Nothing => Vec::new(),
                Data::Addresses(addresses) => addresses.iter().copied().map(RData::from).collect(),
                Data::Alias(target) => vec![RData::CNAME(CNAME(name(target)?))],
            };
            for data in new {
                message.add_authority(Record::from_rdata(owner.clone(), *ttl, data));
            }
        }
        Ok(message)
    }
}
