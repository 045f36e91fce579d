//! Several requests in one system call: the kernel carries them out one after another and is waited for once.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_EXCL, NLM_F_REQUEST, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;

use super::{Netlink, NetlinkError, RECEIVE_BYTES, decode, encode};

/// A request to be sent, by [`Netlink::send`] or together with others.
#[derive(Debug)]
pub struct Request {
    pub(super) message: RouteNetlinkMessage,
    pub(super) flags: u16,
    pub(super) call: &'static str,
    pub(super) object: String,
    harmless: Option<Errno>,
}

impl Request {
    /// `flags` beside REQUEST and ACK; `call` and `object` name it in errors.
    pub fn new(
        message: RouteNetlinkMessage,
        flags: u16,
        call: &'static str,
        object: impl std::fmt::Display,
    ) -> Self {
        Self {
            message,
            flags,
            call,
            object: object.to_string(),
            harmless: None,
        }
    }

    /// Fails with EEXIST instead of replacing what is there.
    #[must_use]
    pub fn exclusively(mut self) -> Self {
        self.flags |= NLM_F_EXCL;
        self
    }

    /// Takes this answer for success.
    #[must_use]
    pub fn or(mut self, harmless: Errno) -> Self {
        self.harmless = Some(harmless);
        self
    }
}

impl Netlink {
    /// Sends one request and waits for its acknowledgement.
    pub fn send(&mut self, request: Request) -> Result<(), NetlinkError> {
        self.send_all(vec![request]).map(drop)
    }

    /// Sends requests together. The first failure is the error; returns what the kernel answered beside acknowledgements.
    ///
    /// The kernel does not stop at a failure: whatever must not happen after one belongs into the next call.
    pub fn send_all(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let Some(last) = requests.len().checked_sub(1) else {
            return Ok(Vec::new());
        };
        let first_number = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut sent = Vec::with_capacity(requests.len());
        for (place, request) in requests.into_iter().enumerate() {
            // Failures are told in any case, each before what comes after it, so that the last acknowledgement ends it all.
            let ack = if place == last { NLM_F_ACK } else { 0 };
            let flags = NLM_F_REQUEST | ack | request.flags;
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(encode(self.sequence, request.message, flags));
            sent.push((request.call, request.object, request.harmless));
        }
        let failed = |place: usize, source| {
            let (call, object, _) = &sent[place];
            NetlinkError {
                call,
                object: object.clone(),
                source,
            }
        };
        self.socket.send(&bytes, 0).map_err(|e| failed(0, e))?;

        let mut answers = Vec::new();
        let mut failure = None;
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        loop {
            buffer.clear();
            self.socket
                .recv(&mut buffer, 0)
                .map_err(|e| failed(last, e))?;
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                let answer =
                    decode::<RouteNetlinkMessage>(&mut rest).map_err(|e| failed(last, e))?;
                let place = answer.header.sequence_number.wrapping_sub(first_number) as usize;
                let Some((.., harmless)) = sent.get(place) else {
                    continue; // the tail of a request that failed half-way
                };
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(e) => {
                        let source = e.code.map(|_| e.to_io());
                        if let Some(source) = source.filter(|e| !is(e, *harmless)) {
                            failure = failure.or_else(|| Some(failed(place, source)));
                        }
                        if place == last {
                            return failure.map_or(Ok(answers), Err);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn is(error: &io::Error, harmless: Option<Errno>) -> bool {
    harmless.is_some_and(|errno| error.raw_os_error() == Some(errno as i32))
}
