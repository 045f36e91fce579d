//! One packet that is dropped, and what is told of it.

use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::VNID_CLOSED;

use crate::frames::Frame;
use crate::rig::vnid;

/// What the event tells of the packet: addresses, ports, protocol.
pub struct Seen {
    pub src: Addr,
    pub dst: Addr,
    pub ports: (u16, u16),
    pub proto: u8,
}

pub const NOTHING: Seen = Seen {
    src: Addr::UNSPECIFIED,
    dst: Addr::UNSPECIFIED,
    ports: (0, 0),
    proto: 0,
};

pub struct Case {
    pub why: &'static str,
    pub reason: DropReason,
    pub program: &'static str,
    pub on: &'static str,
    /// Pod by whose interface it came to the node, if it is not sent by it.
    pub entered: Option<&'static str>,
    pub bytes: Vec<u8>,
    pub seen: Seen,
    /// Projects that the event names. Their VNIDs follow, but where the packet was dropped before they were known.
    pub from: Option<&'static str>,
    pub to: Option<&'static str>,
    pub vnids: (u32, u32),
    /// Place of the egress rule that denied it, counted from 1.
    pub rule: u32,
    /// Pod that the drop is charged to.
    pub charged: Option<&'static str>,
    /// Rows that must be other than the world's for it.
    pub rows: Vec<Write>,
}

impl Case {
    /// A drop of a pod's own packet, before anything is known of either side.
    pub fn new(why: &'static str, reason: DropReason, on: &'static str, frame: &Frame) -> Self {
        Self {
            why,
            reason,
            program: "from_pod",
            on,
            entered: None,
            bytes: frame.bytes(),
            seen: Seen {
                src: frame.src.into(),
                dst: frame.dst.into(),
                ports: (frame.src_port, frame.dst_port),
                proto: frame.proto,
            },
            from: None,
            to: None,
            vnids: (VNID_CLOSED, VNID_CLOSED),
            charged: Some(on),
            rule: 0,
            rows: vec![],
        }
    }

    /// The sender is known.
    pub fn from(mut self, project: &'static str) -> Self {
        self.from = Some(project);
        self.vnids.0 = vnid(project);
        self
    }

    /// What this pod has sent: the host has given it another source.
    pub fn entered(mut self, project: &'static str) -> Self {
        self.entered = Some(project);
        self.charged = Some(project);
        self.from(project)
    }

    /// The receiver is known.
    pub fn to(mut self, project: &'static str) -> Self {
        self.to = Some(project);
        self.vnids.1 = vnid(project);
        self
    }

    /// One side is no pod of this node, but has a network number.
    pub fn outside_sender(mut self) -> Self {
        self.vnids.0 = 0;
        self
    }

    pub fn outside_receiver(mut self) -> Self {
        self.vnids.1 = 0;
        self
    }

    pub fn at(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    pub fn charged(self, charged: Option<&'static str>) -> Self {
        Self { charged, ..self }
    }

    pub fn with(self, row: Write) -> Self {
        Self {
            rows: vec![row],
            ..self
        }
    }

    pub fn bytes(self, bytes: Vec<u8>, seen: Seen) -> Self {
        Self {
            bytes,
            seen,
            ..self
        }
    }
}
