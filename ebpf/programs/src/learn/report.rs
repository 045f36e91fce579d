//! Counters, and events that ask the agent to resolve a name itself.

use weft_ebpf::rows::dns::NameEvent;

use super::maps::{Counter, NAME_EVENTS, Scratch, count, event_allowed};

/// A message that may concern a watched name was not read whole. The event has the name if the question could be read.
#[inline(never)]
pub fn unread(scratch: &mut Scratch, why: u32) {
    count(scratch, Counter::Unread);
    ask_agent(scratch, why);
}

/// Sends an event, as long as the project has budget: one project must not fill the ring of all.
#[inline(never)]
pub fn ask_agent(scratch: &mut Scratch, why: u32) {
    scratch.event.time = scratch.now;
    scratch.event.why = why;
    scratch.event.name = *scratch.reader.question_name();
    if !event_allowed(scratch)
        || NAME_EVENTS
            .output_untyped::<NameEvent>(&scratch.event, 0)
            .is_err()
    {
        count(scratch, Counter::Suppressed);
    }
}
