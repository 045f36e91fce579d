//! What pods ask.

use weft_ebpf::dns::carrier::part;
use weft_ebpf::packet::proto;
use weft_ebpf::rows::dns::why;

use super::maps::{QUERIES, Scratch, TRUSTED};
use super::{question, read_question, report, set_query};

/// Notes a question about a watched name, so that its answer can be told from a forged one. The agent is asked to resolve
/// what is asked over TCP at once, since nothing is learned from the answer.
#[inline(never)]
pub fn note(scratch: &mut Scratch) {
    let (pod, server) = (scratch.payload.src, scratch.payload.dst);
    // SAFETY: only its presence counts.
    if unsafe { TRUSTED.get(server) }.is_none() {
        return;
    }
    match read_question(scratch) {
        question::WATCHED => {}
        question::UNREADABLE => {
            let why = if scratch.carried.part == part::STREAM {
                why::STREAM
            } else {
                why::UNREADABLE
            };
            return report::unread(scratch, why);
        }
        _ => return,
    }
    if scratch.payload.proto == u32::from(proto::TCP) {
        return report::ask_agent(scratch, why::STREAM);
    }
    set_query(scratch, pod, server, scratch.carried.src_port);
    scratch.query.time = scratch.now;
    // The pod's question in this place gives way. What finds no room the agent resolves.
    let _ignored = QUERIES.insert(&scratch.query_key, &scratch.query, 0);
}
