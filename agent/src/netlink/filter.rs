//! Filters of the traffic control hooks (tc(8)).

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

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

impl Netlink {
    /// BPF filters on a device's hook; none where there is no device or no clsact qdisc.
    pub fn bpf_filters(&mut self, index: u32, hook: Hook) -> Result<Vec<BpfFilter>, NetlinkError> {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = TcHandle {
            major: TcHandle::CLSACT.major,
            minor: match hook {
                Hook::Ingress => TcHandle::MIN_INGRESS,
                Hook::Egress => TcHandle::MIN_EGRESS,
            },
        };
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
