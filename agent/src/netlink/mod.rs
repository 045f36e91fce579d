//! Synchronous rtnetlink: one request, its answers, its acknowledgement.
//!
//! A socket belongs to the network namespace its thread was in when it was opened, and stays there: open it inside
//! `NetNs::run`, use it from anywhere.

pub mod address;
pub mod announce;
pub mod conntrack;
pub mod device;
pub mod filter;
pub mod hooks;
pub mod neighbour;
pub mod pod;
pub mod request;
pub mod route;
pub mod veth;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// An rtnetlink request failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} {object}: {source}{hint}", hint = self.hint())]
pub struct NetlinkError {
    /// What was asked: `add route`, `set link up`.
    pub call: &'static str,
    /// Of what: an interface name, a route.
    pub object: String,
    /// The kernel's answer, or what the socket said.
    #[source]
    pub source: io::Error,
}

impl NetlinkError {
    /// What to do where the kernel does not know the kind of thing: it loads modules by itself, if they are there.
    fn hint(&self) -> String {
        use nix::errno::Errno::{ENOENT, EOPNOTSUPP};
        let module = match self.call {
            device::CREATE_OVERLAY => "vxlan",
            veth::CREATE => "veth",
            filter::ADD_CLSACT => "sch_ingress",
            filter::PUT => "cls_bpf",
            _ => return String::new(),
        };
        match self.errno() {
            Some(EOPNOTSUPP | ENOENT) => format!(
                " (the kernel has no module {module}, or cannot load it: modprobe {module} tells why; install the package \
                 with this kernel's modules, for example linux-modules-extra)"
            ),
            _ => String::new(),
        }
    }

    /// The kernel's errno.
    pub fn errno(&self) -> Option<nix::errno::Errno> {
        self.source.raw_os_error().map(nix::errno::Errno::from_raw)
    }
}

/// An rtnetlink socket.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// One `recvmsg` never returns more than the kernel's dump buffer (32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let fail = |source| NetlinkError {
            call: "open",
            object: "rtnetlink socket".into(),
            source,
        };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(fail)?;
        socket.bind_auto().map_err(fail)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(fail)?;
        // Dumps fail with EINVAL instead of ignoring a filter they do not know; errors carry the kernel's text.
        socket.set_netlink_get_strict_chk(true).map_err(fail)?;
        socket.set_ext_ack(true).map_err(fail)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends one request with `flags` beside REQUEST and ACK, and waits for its acknowledgement.
    ///
    /// `call` and `object` name it in errors.
    pub fn change(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        call: &'static str,
        object: impl std::fmt::Display,
    ) -> Result<(), NetlinkError> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags)
            .map(drop)
            .map_err(|source| NetlinkError {
                call,
                object: object.to_string(),
                source,
            })
    }

    /// Asks for one object; `flags` as in [`Self::change`], for example `NLM_F_ECHO`.
    pub fn get(
        &mut self,
        message: RouteNetlinkMessage,
        call: &'static str,
        object: impl std::fmt::Display,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK)
            .map_err(|source| NetlinkError {
                call,
                object: object.to_string(),
                source,
            })
    }

    /// Dumps a table of the kernel. Repeats the dump when the kernel says that it changed meanwhile.
    pub fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
        call: &'static str,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let fail = |source| NetlinkError {
            call,
            object: "dump".into(),
            source,
        };
        for _ in 0..8 {
            match self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(e) if e.raw_os_error() == Some(nix::libc::EINTR) => {}
                other => return other.map_err(fail),
            }
        }
        Err(fail(io::Error::other(
            "the table changed during eight dumps in a row",
        )))
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        exchange(&self.socket, self.sequence, message, flags)
    }
}

/// Sends one request and waits for all its answers.
fn exchange<M>(socket: &Socket, sequence: u32, message: M, flags: u16) -> io::Result<Vec<M>>
where
    M: NetlinkSerializable + NetlinkDeserializable,
    NetlinkPayload<M>: From<M>,
{
    socket.send(&encode(sequence, message, flags), 0)?;

    let mut answers = Vec::new();
    let mut interrupted = false;
    let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let answer = decode::<M>(&mut rest)?;
            if answer.header.sequence_number != sequence {
                continue; // the tail of a request that failed half-way
            }
            interrupted |= answer.header.flags & netlink_packet_core::NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                NetlinkPayload::Error(e) => match e.code {
                    Some(_) => return Err(e.to_io()),
                    None => return Ok(answers),
                },
                NetlinkPayload::Done(_) if interrupted => {
                    return Err(io::Error::from_raw_os_error(nix::libc::EINTR));
                }
                NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
        }
    }
}

/// Spells a request out.
fn encode<M>(sequence: u32, message: M, flags: u16) -> Vec<u8>
where
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

/// Takes the next message off what was received.
fn decode<M: NetlinkDeserializable>(rest: &mut &[u8]) -> io::Result<NetlinkMessage<M>> {
    let message = NetlinkMessage::<M>::deserialize(rest)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    let length = (message.header.length as usize).next_multiple_of(4);
    *rest = &rest[length.min(rest.len())..];
    Ok(message)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    fn refused(call: &'static str, errno: Errno) -> String {
        let error = NetlinkError {
            call,
            object: "weft0".into(),
            source: errno.into(),
        };
        error.to_string()
    }

    #[test]
    fn what_the_kernel_has_no_module_for_is_told_with_its_name() {
        for (call, module) in [
            (device::CREATE_OVERLAY, "vxlan"),
            (veth::CREATE, "veth"),
            (filter::ADD_CLSACT, "sch_ingress"),
            (filter::PUT, "cls_bpf"),
        ] {
            for errno in [Errno::EOPNOTSUPP, Errno::ENOENT] {
                let text = refused(call, errno);
                assert!(text.contains(&format!("modprobe {module} ")), "{text}");
            }
            let text = refused(call, Errno::EBUSY);
            assert!(!text.contains("modprobe"), "{text}");
        }
        let text = refused("add route", Errno::ENOENT);
        assert!(!text.contains("modprobe"), "{text}");
    }
}
