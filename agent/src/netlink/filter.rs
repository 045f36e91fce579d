//! Filters of the traffic control hooks (tc(8)).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use nix::errno::Errno;

use super::request::Request;
use super::{Netlink, NetlinkError};

/// Which of a device's two clsact hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What the device receives.
    Ingress,
    /// What is sent out of the device.
    Egress,
}

/// A BPF program on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfFilter {
    /// Lower numbers run first.
    pub priority: u16,
    /// Handle among the filters of the priority.
    pub handle: u32,
    /// Name under which it was attached.
    pub name: String,
    /// The kernel's number of the program.
    pub program: u32,
}

/// Names of the requests in errors.
pub(super) const ADD_CLSACT: &str = "add clsact qdisc to link";
pub(super) const PUT: &str = "put BPF filter on link";

/// The qdisc that has both hooks; success if there is one.
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
        NLM_F_CREATE | NLM_F_EXCL,
        ADD_CLSACT,
        index,
    )
    .or(Errno::EEXIST)
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
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.handle = handle.into();
    message.header.parent = hook.parent();
    let all_protocols = u16::try_from(nix::libc::ETH_P_ALL).unwrap_or_default();
    message.header.info = u32::from(priority) << 16 | u32::from(all_protocols.to_be());
    let options = [
        TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
        TcFilterBpfOption::ProgName(name.into()),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    message.attributes = vec![
        TcAttribute::Kind("bpf".into()),
        TcAttribute::Options(options.map(TcOption::Bpf).into()),
    ];
    Request::new(
        RouteNetlinkMessage::NewTrafficFilter(message),
        NLM_F_CREATE,
        PUT,
        index,
    )
}

impl Hook {
    fn parent(self) -> TcHandle {
        TcHandle {
            major: TcHandle::CLSACT.major,
            minor: match self {
                Self::Ingress => TcHandle::MIN_INGRESS,
                Self::Egress => TcHandle::MIN_EGRESS,
            },
        }
    }
}

impl Netlink {
    /// BPF filters on a device's hook; none where there is no device or no clsact qdisc.
    pub fn bpf_filters(&mut self, index: u32, hook: Hook) -> Result<Vec<BpfFilter>, NetlinkError> {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = hook.parent();
        let request = RouteNetlinkMessage::GetTrafficFilter(message);
        let answers = self.dump(&request, "list traffic filters")?;
        let filters = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(message) => bpf_filter(message),
            _ => None,
        });
        Ok(filters.collect())
    }
}

/// The BPF filter of a message; `None` for filters of other kinds.
pub fn bpf_filter(message: &TcMessage) -> Option<BpfFilter> {
    let (mut name, mut program) = (None, None);
    let options = message.attributes.iter().filter_map(|it| match it {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    for option in options.flatten() {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(it)) => name = Some(it.clone()),
            TcOption::Bpf(TcFilterBpfOption::ProgId(it)) => program = Some(*it),
            _ => {}
        }
    }
    // A priority has an entry of its own beside its filters; that one has no program.
    Some(BpfFilter {
        priority: (message.header.info >> 16) as u16,
        handle: message.header.handle.into(),
        name: name?,
        program: program?,
    })
}
