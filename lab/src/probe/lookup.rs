//! A DNS lookup, and the connection that a program makes at once to an address it got.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use weft_wait::patience::patient;

use super::line::{Outcome, ask};
use crate::dns::PORT;
use crate::dns::exchange::{decode, encode, over_tcp, over_udp, question};

/// How a name is looked up, from the calling thread's network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Whom it asks.
    pub server: SocketAddr,
    /// Over TCP from the start; else over UDP, and over TCP if that answer is cut short.
    pub tcp: bool,
    /// Largest answer over UDP that it takes (RFC 6891); without, 512 bytes.
    pub payload: Option<u16>,
    /// The question in upper case.
    pub upper_case: bool,
    /// How long each attempt may take.
    pub patience: Duration,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub code: ResponseCode,
    /// The addresses, in the answer's order.
    pub addresses: Vec<IpAddr>,
    /// Smallest TTL of all records; 0 if there are none.
    pub ttl: u32,
    /// The answer over UDP was cut short; this one came over TCP.
    pub truncated: bool,
}

/// A lookup and what followed.
#[derive(Clone, Debug)]
pub struct Round {
    /// What was found.
    pub answer: Answer,
    /// How long the lookup took.
    pub lookup: Duration,
    /// How long the connection took from the answer to the server's line.
    pub connect: Duration,
    /// How the connection to the first address went.
    pub outcome: Outcome,
}

impl Lookup {
    /// Over UDP, as plain as can be.
    pub fn at(server: IpAddr) -> Self {
        Self {
            server: SocketAddr::new(server, PORT),
            tcp: false,
            payload: None,
            upper_case: false,
            patience: patient(Duration::from_secs(10)),
        }
    }

    /// Asks for addresses of one kind.
    pub fn ask(&self, name: &str, kind: RecordType) -> io::Result<Answer> {
        let name = if self.upper_case {
            name.to_ascii_uppercase()
        } else {
            name.to_owned()
        };
        let mut message = question(&name, kind)?;
        if let Some(payload) = self.payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        let query = encode(&message)?;
        let over_tcp = || decode(&over_tcp(self.server, &query, self.patience)?);
        if self.tcp {
            return Ok(Answer::of(&over_tcp()?, false));
        }
        let answer = decode(&over_udp(self.server, &query, self.patience)?)?;
        if answer.metadata.truncation {
            return Ok(Answer::of(&over_tcp()?, true));
        }
        Ok(Answer::of(&answer, false))
    }

    /// Asks, and connects at once to the first address of the answer.
    pub fn connect(
        &self,
        name: &str,
        kind: RecordType,
        port: u16,
        deadline: Duration,
    ) -> io::Result<Round> {
        let start = Instant::now();
        let answer = self.ask(name, kind)?;
        let answered = Instant::now();
        let first = answer.addresses.first().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no address of {name}: {answer:?}"),
            )
        })?;
        let outcome = Outcome::of(ask(SocketAddr::new(*first, port), deadline));
        Ok(Round {
            lookup: answered - start,
            connect: answered.elapsed(),
            answer,
            outcome,
        })
    }
}

impl Answer {
    fn of(message: &Message, truncated: bool) -> Self {
        let records = &message.answers;
        Self {
            code: message.metadata.response_code,
            addresses: records
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect(),
            ttl: records
                .iter()
                .map(|record| record.ttl)
                .min()
                .unwrap_or_default(),
            truncated,
        }
    }
}
