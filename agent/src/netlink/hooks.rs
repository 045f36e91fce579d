//! What stands on a device's hooks: filters of every kind, the qdisc that holds them, an XDP program.
//!
//! Only what is common to all kinds of filters is read: their options are the business of whoever put them there, and one
//! that cannot be read must not hide the others.

use std::io;

use netlink_packet_core::{
    DecodeError, Emitable, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable, NlasIterator,
    parse_string, parse_u32,
};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::tc::{TcHandle, TcHeader, TcMessage};
use nix::errno::Errno;

use super::filter::{BPF, Hook};
use super::{Netlink, NetlinkError, exchange};

/// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_INGRESS_BLOCK: u16 = 13;
const TCA_EGRESS_BLOCK: u16 = 14;
/// linux/pkt_cls.h
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// linux/if_link.h
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_NONE: u8 = 0;
const XDP_ATTACHED_SKB: u8 = 2;
/// Bytes of `struct ifinfomsg` and `struct tcmsg`, and of the netlink header before them.
const IFINFOMSG: usize = 16;
const TCMSG: usize = 20;
const NLMSGHDR: usize = 16;

/// A filter, of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `bpf`, `u32`, `flower`
    pub kind: String,
    /// Packets meet those of chain 0 first, and another chain only if one of these sends them there.
    pub chain: u32,
    /// Lower numbers run first.
    pub priority: u16,
    /// Protocol of the packets that it sees.
    pub protocol: u16,
    /// Handle among the filters of the priority.
    pub handle: u32,
    /// Name under which a BPF program was attached.
    pub name: Option<String>,
    /// The kernel's number of the BPF program.
    pub program: Option<u32>,
}

/// The qdisc of a device that has the hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookQdisc {
    /// `clsact`, or `ingress` with one hook only.
    pub kind: String,
    /// Number of the block of filters that the first hook shares with other devices.
    pub ingress_block: Option<u32>,
    /// The same of the second.
    pub egress_block: Option<u32>,
}

/// An XDP program of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xdp {
    /// Index of the device.
    pub index: u32,
    /// In the driver, or in the stack in front of everything else (generic).
    pub generic: bool,
    /// The kernel's number of the program; none if there are several.
    pub program: Option<u32>,
}

impl Filter {
    /// The filter that an announcement tells of, if it is one of a filter of a device.
    pub fn announced(bytes: &[u8]) -> Option<(u32, Self)> {
        let kind = bytes.get(4..6)?;
        if u16::from_ne_bytes(kind.try_into().ok()?) != RTM_NEWTFILTER {
            return None;
        }
        let message = bytes.get(NLMSGHDR..)?;
        // Filters of a shared block are no device's.
        let index = i32::from_ne_bytes(message.get(4..8)?.try_into().ok()?);
        Some((u32::try_from(index).ok()?, Self::read(message)?))
    }

    /// `None` for the entry that a priority has of its own beside its filters.
    fn read(message: &[u8]) -> Option<Self> {
        let header = TcHeader::parse(message).ok()?;
        let mut filter = Self {
            kind: String::new(),
            chain: 0,
            priority: (header.info >> 16) as u16,
            protocol: u16::from_be((header.info & 0xffff) as u16),
            handle: header.handle.into(),
            name: None,
            program: None,
        };
        let mut options = None;
        for (kind, value) in attributes(message.get(TCMSG..)?) {
            match kind {
                TCA_KIND => filter.kind = parse_string(value).ok()?,
                TCA_CHAIN => filter.chain = parse_u32(value).ok()?,
                TCA_OPTIONS => options = Some(value),
                _ => {}
            }
        }
        let options = options?;
        if filter.kind == BPF {
            for (kind, value) in attributes(options) {
                match kind {
                    TCA_BPF_NAME => filter.name = parse_string(value).ok(),
                    TCA_BPF_ID => filter.program = parse_u32(value).ok(),
                    _ => {}
                }
            }
        }
        Some(filter)
    }
}

impl Netlink {
    /// Filters on a device's hook, in the order in which packets meet them; none where there is no device or no qdisc.
    pub fn filters(&mut self, index: u32, hook: Hook) -> Result<Vec<Filter>, NetlinkError> {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = hook.parent();
        let answers = self.ask(RTM_GETTFILTER, &message, NLM_F_DUMP, "list traffic filters")?;
        let filters = answers.iter().filter(|it| it.kind == RTM_NEWTFILTER);
        Ok(filters.filter_map(|it| Filter::read(&it.body)).collect())
    }

    /// The qdisc that has a device's hooks, if there is one. The kernel lists those of all devices for it.
    pub fn hook_qdisc(&mut self, index: u32) -> Result<Option<HookQdisc>, NetlinkError> {
        let message = TcMessage::with_index(index.cast_signed());
        let answers = self.ask(RTM_GETQDISC, &message, NLM_F_DUMP, "list qdiscs")?;
        let mut found = answers.iter().filter(|it| it.kind == RTM_NEWQDISC);
        let found = found.find(|it| {
            let header = TcHeader::parse(&it.body);
            header.is_ok_and(|it| it.index == index.cast_signed() && it.parent == TcHandle::CLSACT)
        });
        Ok(found.and_then(|it| HookQdisc::read(&it.body)))
    }

    /// XDP programs of all devices, or of the one with this index.
    pub fn xdp(&mut self, index: Option<u32>) -> Result<Vec<Xdp>, NetlinkError> {
        let mut query = LinkMessage::default();
        query.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        query.header.index = index.unwrap_or_default();
        let (flags, call) = match index {
            None => (NLM_F_DUMP, "list links"),
            Some(_) => (NLM_F_ACK, "get link"),
        };
        let answers = match self.ask(RTM_GETLINK, &query, flags, call) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Vec::new(),
            other => other?,
        };
        let links = answers.iter().filter(|it| it.kind == RTM_NEWLINK);
        Ok(links.filter_map(|it| Xdp::read(&it.body)).collect())
    }

    fn ask(
        &mut self,
        kind: u16,
        message: &impl Emitable,
        flags: u16,
        call: &'static str,
    ) -> Result<Vec<Raw>, NetlinkError> {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        let request = Raw { kind, body };
        let fail = |source| NetlinkError {
            call,
            object: "on the hooks of links".into(),
            source,
        };
        for _ in 0..8 {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = NLM_F_REQUEST | flags;
            match exchange(&self.socket, self.sequence, request.clone(), flags) {
                // A dump during which something changed.
                Err(error) if error.raw_os_error() == Some(nix::libc::EINTR) => {}
                other => return other.map_err(fail),
            }
        }
        Err(fail(io::Error::other(
            "they changed during eight dumps in a row",
        )))
    }
}

impl HookQdisc {
    fn read(message: &[u8]) -> Option<Self> {
        let mut qdisc = Self {
            kind: String::new(),
            ingress_block: None,
            egress_block: None,
        };
        for (kind, value) in attributes(message.get(TCMSG..)?) {
            match kind {
                TCA_KIND => qdisc.kind = parse_string(value).ok()?,
                TCA_INGRESS_BLOCK => qdisc.ingress_block = parse_u32(value).ok(),
                TCA_EGRESS_BLOCK => qdisc.egress_block = parse_u32(value).ok(),
                _ => {}
            }
        }
        Some(qdisc)
    }

    /// The shared block of a hook.
    pub fn block(&self, hook: Hook) -> Option<u32> {
        match hook {
            Hook::Ingress => self.ingress_block,
            Hook::Egress => self.egress_block,
        }
    }
}

impl Xdp {
    fn read(message: &[u8]) -> Option<Self> {
        let index = message.get(4..8)?.try_into().ok()?;
        let mut links = attributes(message.get(IFINFOMSG..)?);
        let (_, xdp) = links.find(|(kind, _)| *kind == IFLA_XDP)?;
        let (mut mode, mut program) = (XDP_ATTACHED_NONE, None);
        for (kind, value) in attributes(xdp) {
            match kind {
                IFLA_XDP_ATTACHED => mode = *value.first()?,
                IFLA_XDP_PROG_ID => program = parse_u32(value).ok(),
                _ => {}
            }
        }
        (mode != XDP_ATTACHED_NONE).then_some(Self {
            index: u32::from_ne_bytes(index),
            generic: mode == XDP_ATTACHED_SKB,
            program,
        })
    }
}

/// Kind and value of each attribute, up to the first that is none.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let all = NlasIterator::new(bytes).map_while(Result::ok);
    all.map(|it| {
        let (kind, end) = (it.kind(), usize::from(it.length()));
        let value = it.into_inner().get(NLA_HEADER_SIZE..end);
        (kind, value.unwrap_or_default())
    })
}

/// A message as it travels.
#[derive(Clone, Debug)]
struct Raw {
    kind: u16,
    body: Vec<u8>,
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: header.message_type,
            body: payload.to_vec(),
        })
    }
}

impl From<Raw> for NetlinkPayload<Raw> {
    fn from(message: Raw) -> Self {
        Self::InnerMessage(message)
    }
}
