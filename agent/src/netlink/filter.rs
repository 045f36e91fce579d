//! Filters of the traffic control hooks (tc(8)): putting and removing them. [`super::hooks`] reads them.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use nix::errno::Errno;

use super::request::Request;

/// Which of a device's two clsact hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What the device receives.
    Ingress,
    /// What is sent out of the device.
    Egress,
}

/// The kind of filter that runs eBPF programs.
pub const BPF: &str = "bpf";
/// ETH_P_ALL (linux/if_ether.h).
pub const ALL_PROTOCOLS: u16 = 3;

/// Names of the requests in errors.
pub(super) const ADD_CLSACT: &str = "add clsact qdisc to link";
pub(super) const PUT: &str = "put BPF filter on link";

/// The qdisc that has both hooks; success if there is one. Another qdisc in its place is the error EINVAL.
pub fn add_clsact(index: u32) -> Request {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.handle = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: 0,
    };
    message.header.parent = TcHandle::CLSACT;
    message.attributes = vec![TcAttribute::Kind("clsact".into())];
    Request::new(
        RouteNetlinkMessage::NewQueueDiscipline(message),
        // Not EXCL, with which a clsact and another qdisc get the same answer.
        NLM_F_CREATE,
        ADD_CLSACT,
        index,
    )
}

/// A BPF program as filter of all protocols on a device's hook. A program of that priority and handle is replaced in
/// place: each packet meets the one or the other.
pub fn put_bpf_filter(
    index: u32,
    hook: Hook,
    priority: u16,
    handle: u32,
    name: &str,
    program: BorrowedFd<'_>,
) -> Request {
    let mut message = bpf_message(index, hook, priority, handle);
    let options = [
        TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
        TcFilterBpfOption::ProgName(name.into()),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    let options = TcAttribute::Options(options.map(TcOption::Bpf).into());
    message.attributes.push(options);
    Request::new(
        RouteNetlinkMessage::NewTrafficFilter(message),
        NLM_F_CREATE,
        PUT,
        index,
    )
}

/// Takes a BPF filter away; success if it is gone.
pub fn remove_bpf_filter(index: u32, hook: Hook, priority: u16, handle: u32) -> Request {
    let message = bpf_message(index, hook, priority, handle);
    let message = RouteNetlinkMessage::DelTrafficFilter(message);
    Request::new(message, 0, "remove BPF filter from link", index).or(Errno::ENOENT)
}

fn bpf_message(index: u32, hook: Hook, priority: u16, handle: u32) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.handle = handle.into();
    message.header.parent = hook.parent();
    message.header.info = u32::from(priority) << 16 | u32::from(ALL_PROTOCOLS.to_be());
    message.attributes = vec![TcAttribute::Kind(BPF.into())];
    message
}

impl Hook {
    pub(super) fn parent(self) -> TcHandle {
        TcHandle {
            major: TcHandle::CLSACT.major,
            minor: match self {
                Self::Ingress => TcHandle::MIN_INGRESS,
                Self::Egress => TcHandle::MIN_EGRESS,
            },
        }
    }
}
