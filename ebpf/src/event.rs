//! What the ring buffer carries.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::addr::Addr;
use crate::rows::ProjectKey;

/// One dropped packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DropEvent {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// Sender's project; zero if it is not a local pod.
    pub src_project: ProjectKey,
    /// Receiver's project; zero if it is not a local pod.
    pub dst_project: ProjectKey,
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Sender's VNID, or `VNID_CLOSED`.
    pub src_vnid: u32,
    /// Receiver's VNID, or `VNID_CLOSED`.
    pub dst_vnid: u32,
    /// [`DropReason`](crate::reason::DropReason) as a number.
    pub reason: u32,
    /// Interface on which the program ran.
    pub ifindex: u32,
    /// Length of the packet in bytes.
    pub len: u32,
    /// [`hook`]: the program that dropped it.
    pub hook: u32,
    /// Place of the egress rule that denied it, counted from 1; 0 if no rule did.
    pub rule: u32,
    /// Source port, host byte order; 0 if the packet shows none.
    pub src_port: u16,
    /// Destination port, host byte order; 0 if the packet shows none.
    pub dst_port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Values of [`DropEvent::hook`].
pub mod hook {
    /// `from_pod`
    pub const FROM_POD: u32 = 1;
    /// `to_pod`
    pub const TO_POD: u32 = 2;
    /// `from_overlay`
    pub const FROM_OVERLAY: u32 = 3;
    /// `to_overlay`
    pub const TO_OVERLAY: u32 = 4;
    /// `after_dnat`
    pub const AFTER_DNAT: u32 = 5;

    /// The program's name.
    pub const fn name(hook: u32) -> &'static str {
        match hook {
            FROM_POD => "from_pod",
            TO_POD => "to_pod",
            FROM_OVERLAY => "from_overlay",
            TO_OVERLAY => "to_overlay",
            AFTER_DNAT => "after_dnat",
            _ => "unknown",
        }
    }
}
