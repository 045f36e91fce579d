//! Connections that the host's connection tracking knows (nfnetlink's ctnetlink).

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr as Kernel};
use weft_core::model::{Connection, Direction};
use weft_ebpf::packet::proto;

use super::{NetlinkError, exchange};

/// All connections of both families in the calling thread's network namespace. One that begins or ends meanwhile may be missing,
/// or be there twice.
pub fn connections() -> Result<Vec<Connection>, NetlinkError> {
    let fail = |call| {
        move |source| NetlinkError {
            call,
            object: "the host's connections (ctnetlink)".into(),
            source,
        }
    };
    let answers = dump().map_err(fail("dump"))?;
    Ok(answers
        .iter()
        .filter_map(|answer| match &answer.inner {
            NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) => {
                connection(attributes)
            }
            _ => None,
        })
        .collect())
}

fn dump() -> io::Result<Vec<NetfilterMessage>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&Kernel::new(0, 0))?;
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let request = NetfilterMessage::new(header, ConntrackMessage::Get(vec![]));
    exchange(&socket, 1, request, NLM_F_REQUEST | NLM_F_DUMP)
}

fn connection(attributes: &[ConntrackAttribute]) -> Option<Connection> {
    let opened = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuples) => direction(tuples),
        _ => None,
    });
    let answered = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleReply(tuples) => direction(tuples),
        _ => None,
    });
    let ((protocol, opened), (_, answered)) = (opened?, answered?);
    Some(Connection {
        protocol,
        opened,
        answered,
    })
}

/// Protocol and direction of one tuple.
fn direction(tuples: &[Tuple]) -> Option<(u8, Direction)> {
    let (mut from, mut to) = (None::<IpAddr>, None::<IpAddr>);
    let (mut protocol, mut from_port, mut to_port) = (None, 0, 0);
    for tuple in tuples {
        match tuple {
            Tuple::Ip(parts) => {
                for part in parts {
                    match part {
                        IPTuple::SourceAddress(ip) => from = Some(*ip),
                        IPTuple::DestinationAddress(ip) => to = Some(*ip),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(parts) => {
                for part in parts {
                    match part {
                        ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
                        ProtoTuple::SourcePort(port) => from_port = *port,
                        ProtoTuple::DestinationPort(port) => to_port = *port,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let protocol = protocol?;
    // Of other protocols the tracking keeps there what is no port, as the key of GRE.
    if !matches!(protocol, proto::TCP | proto::UDP | proto::SCTP) {
        (from_port, to_port) = (0, 0);
    }
    let direction = Direction {
        from: SocketAddr::new(from?, from_port),
        to: SocketAddr::new(to?, to_port),
    };
    Some((protocol, direction))
}
