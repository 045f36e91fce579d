//! What pods are answered.

use weft_ebpf::dns::carrier::part;
use weft_ebpf::dns::{MESSAGE_BYTES, lease};
use weft_ebpf::rows::dns::why;

use super::maps::{Counter, QUERIES, Scratch, TRUSTED, count};
use super::{question, read_question, report, set_query, teach};
use crate::sys::Kernel;

/// Reads an answer about a watched name and writes its addresses, if the pod asked that question, of that server, which is
/// trusted, a short while ago.
#[inline(never)]
pub fn take(scratch: &mut Scratch) {
    let question = read_question(scratch);
    if question == question::OTHER {
        return;
    }
    let trusted = trusted(scratch);
    if scratch.carried.part == part::STREAM {
        // Nothing in a segment is believed, the name in it included: the agent asks only for names of the project's policy.
        if trusted && question == question::WATCHED {
            report::unread(scratch, why::STREAM);
        }
        return;
    }
    let waits = if trusted { waits(scratch) } else { waits::NOT };
    if question == question::UNREADABLE {
        // Anybody can send this; it matters if it may be what the pod waits for.
        if waits != waits::NOT {
            report::unread(scratch, why::UNREADABLE);
        }
        return;
    }
    if waits != waits::FOR_THIS || !use_up(scratch) {
        count(scratch, Counter::Distrusted);
        if trusted {
            // A flood of questions may have pushed this one out of the map. The agent asks for itself and believes nothing here.
            report::ask_agent(scratch, why::UNASKED);
        }
        return;
    }
    if !scratch.reader.is_success() {
        return;
    }
    let why = read_answers(scratch);
    teach::all(scratch);
    if why != 0 {
        report::unread(scratch, why);
    }
    if scratch.full != 0 {
        report::ask_agent(scratch, why::FULL);
    }
}

/// Reads the addresses; tells why not all of them, or 0.
#[inline(never)]
fn read_answers(scratch: &mut Scratch) -> u32 {
    let read = scratch.reader.read_answers::<Kernel>();
    if scratch.carried.part == part::FRAGMENT {
        why::FRAGMENTED
    } else if scratch.reader.is_truncated() {
        why::TRUNCATED
    } else {
        match read {
            Ok(()) => 0,
            Err(_) if scratch.carried.len > MESSAGE_BYTES => why::TOO_MANY,
            Err(fault) => fault.why(),
        }
    }
}

/// Whether the message is from a trusted server.
#[inline(never)]
fn trusted(scratch: &Scratch) -> bool {
    // SAFETY: only its presence counts.
    unsafe { TRUSTED.get(scratch.payload.src) }.is_some()
}

/// What the pod waits for: one of [`waits`].
#[inline(never)]
fn waits(scratch: &mut Scratch) -> u32 {
    let (pod, server) = (scratch.payload.dst, scratch.payload.src);
    set_query(scratch, pod, server, scratch.carried.dst_port);
    // SAFETY: the row is copied at once; a concurrent change shows the old or the new question.
    let Some(row) = unsafe { QUERIES.get(&scratch.query_key) }.copied() else {
        return waits::NOT;
    };
    let (asked, answered) = (&row.query, &scratch.query.query);
    if asked.server != answered.server
        || asked.port != answered.port
        || asked.id != answered.id
        || scratch.now.wrapping_sub(row.time) >= lease::QUERY_AGE_MAX
    {
        waits::NOT
    } else if asked.name != answered.name {
        waits::FOR_ANOTHER_NAME
    } else {
        waits::FOR_THIS
    }
}

/// What a pod waits for when an answer comes.
mod waits {
    /// Not for an answer of this server with this ID.
    pub const NOT: u32 = 0;
    /// For one, about another name than that in the message, if one could be read there.
    pub const FOR_ANOTHER_NAME: u32 = 1;
    /// For this one.
    pub const FOR_THIS: u32 = 2;
}

/// Takes the question away, so that it has one answer: a second one, forged later, finds none. Whether it was there; of two
/// processors that do this at once, one finds it.
#[inline(never)]
fn use_up(scratch: &mut Scratch) -> bool {
    QUERIES.remove(&scratch.query_key).is_ok()
}
