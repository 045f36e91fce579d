//! Learns the addresses of watched names from the answers that pods receive, before the pods do.
//!
//! # Layout
//! - `maps`: the maps, and the scratch memory
//! - `ask`: notes what pods ask
//! - `answer`: checks and reads answers
//! - `names`: which names of the project's policy a question concerns
//! - `teach`: writes addresses
//! - `ring`: bounds their number
//! - `report`: counters and events
//!
//! The verdict stands when this runs, and nothing here changes it: a redirect is carried out after the program's end.

mod answer;
mod ask;
mod maps;
mod names;
mod report;
mod ring;
mod teach;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use weft_ebpf::addr::Addr;
use weft_ebpf::decide::Tables;
use weft_ebpf::dns::carrier::{self, Carried};
use weft_ebpf::dns::{Fault, PORT};
use weft_ebpf::event::hook;
use weft_ebpf::packet::Packet;
use weft_ebpf::rows::dns::{Query, QueryKey};
use weft_ebpf::rows::egress::project_flag;

use self::maps::Scratch;
use crate::maps::Maps;
use crate::sys::{self, Frame, Kernel};

/// The pod that sent the packet asks something.
pub const ASKS: u32 = 1;
/// The pod that receives the packet, if one does, is answered.
pub const ANSWERS: u32 = 2;

/// What the ports of a packet that goes on may make of its sender and of its receiver.
#[inline(always)]
pub fn roles(packet: &Packet, hook: u32) -> u32 {
    let mut roles = 0;
    if hook == hook::FROM_POD && packet.dst_port == PORT {
        roles |= ASKS;
    }
    if hook != hook::TO_OVERLAY && packet.src_port == PORT {
        roles |= ANSWERS;
    }
    roles
}

/// Looks at a packet that was admitted.
#[inline(always)]
pub fn look(skb: *mut __sk_buff, roles: u32) {
    if let Some(scratch) = maps::scratch() {
        scratch.roles = roles;
        look_by_roles(skb, scratch);
    }
}

/// What is known lies in scratch memory, and the steps are functions of their own: of memory the verifier assumes nothing, so
/// that all ways through one step are one way through the next.
#[inline(never)]
fn look_by_roles(skb: *mut __sk_buff, scratch: &mut Scratch) {
    if !find_payload(skb, scratch) || !find_message(skb, scratch) || !copy_message(skb, scratch) {
        return;
    }
    scratch.now = sys::now();
    if scratch.reader.is_answer() {
        if scratch.roles & ANSWERS != 0 && watches(scratch, scratch.payload.dst) {
            answer::take(scratch);
        }
    } else if scratch.roles & ASKS != 0 && watches(scratch, scratch.payload.src) {
        ask::note(scratch);
    }
}

#[inline(never)]
fn find_payload(skb: *mut __sk_buff, scratch: &mut Scratch) -> bool {
    scratch.payload.find(&Frame(&TcContext::new(skb)))
}

#[inline(never)]
fn find_message(skb: *mut __sk_buff, scratch: &mut Scratch) -> bool {
    match carrier::find(&Frame(&TcContext::new(skb)), &scratch.payload) {
        Some(carried) => {
            scratch.carried = carried;
            true
        }
        None => false,
    }
}

/// Copies the message, or what there is of it, out of the packet.
#[inline(never)]
fn copy_message(skb: *mut __sk_buff, scratch: &mut Scratch) -> bool {
    let Carried { offset, len, .. } = scratch.carried;
    scratch.reader.len = sys::copy(skb, offset, len, &mut scratch.reader.bytes);
    scratch.reader.len != 0
}

/// Whether the project of the pod with this address watches names; notes whose packet it is.
#[inline(never)]
fn watches(scratch: &mut Scratch, pod: Addr) -> bool {
    let Some(pod) = Maps.endpoint(&pod) else {
        return false;
    };
    let Some(project) = Maps.project(&pod.project) else {
        return false;
    };
    scratch.project = project;
    scratch.event.project = pod.project;
    scratch.event.ifindex = pod.ifindex;
    project.flags & project_flag::NAMES != 0
}

/// Reads the question: a [`question`] of it.
#[inline(never)]
fn read_question(scratch: &mut Scratch) -> u32 {
    match scratch.reader.read_question::<Kernel>() {
        Ok(()) if names::find(scratch) => question::WATCHED,
        Ok(()) | Err(Fault::Foreign) => question::OTHER,
        Err(_) => question::UNREADABLE,
    }
}

/// What a question is.
mod question {
    /// About a name of the project's policy.
    pub const WATCHED: u32 = 0;
    /// About something else.
    pub const OTHER: u32 = 1;
    /// It cannot be read.
    pub const UNREADABLE: u32 = 2;
}

/// Notes the question that `pod` asks of `server`, from a port of its own, in the message that was read, and its place.
#[inline(always)]
fn set_query(scratch: &mut Scratch, pod: Addr, server: Addr, port: u16) {
    scratch.query.query = Query {
        server,
        name: scratch.reader.name_hash(),
        port,
        id: scratch.reader.id(),
        reserved: 0,
    };
    scratch.query_key = QueryKey {
        pod,
        slot: scratch.query.query.slot(),
    };
}
