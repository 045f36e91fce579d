//! The maps of learning, and its scratch memory.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use weft_ebpf::dns::carrier::Carried;
use weft_ebpf::dns::{Reader, lease};
use weft_ebpf::packet::Payload;
use weft_ebpf::rows::dns::{LearningRow, NameEvent, QueryKey, QueryRow, RingKey};
use weft_ebpf::rows::egress::{LEARNED_NAMES, LearnedKey, LearnedName, LearnedRow};
use weft_ebpf::rows::{NodeRow, ProjectRow};

pub use crate::maps::{LEARNED, LEARNING, NAME_EVENTS, NAMES, QUERIES, RING, TRUSTED};
use crate::sys;

/// `BPF_NOEXIST`
pub const IF_NEW: u64 = 1;
/// Names of one question that count: what a policy says of the name itself and of the domains above it.
pub const MATCHES: u32 = 4;

/// Events of one project in one second.
const EVENTS_PER_SECOND: u64 = 50;

/// What one run of a program works with: too much for the stack, and no other run on this processor comes in between.
#[repr(C)]
pub struct Scratch {
    pub reader: Reader,
    /// Its project and interface are set for every packet, the rest when it is sent.
    pub event: NameEvent,
    pub payload: Payload,
    pub carried: Carried,
    pub project: ProjectRow,
    pub node: NodeRow,
    /// What the packet's sender and receiver are.
    pub roles: u32,
    /// Monotonic clock.
    pub now: u64,
    /// Numbers of the names of the project's policy that the question concerns.
    pub matches: [u64; MATCHES as usize],
    /// How many.
    pub matched: u32,
    /// Where in the question's name the search for domains stands.
    pub at: u32,
    pub query_key: QueryKey,
    pub query: QueryRow,
    /// The address being written, and what is written of it.
    pub learned_key: LearnedKey,
    pub learned: LearnedRow,
    pub name: LearnedName,
    pub ring_key: RingKey,
    pub evicted_key: LearnedKey,
    /// Which of `matches` is written, and how often that was tried.
    pub turn: u32,
    pub tries: u32,
    /// The names of the row that `name` is written into, as they were seen.
    pub names: [LearnedName; LEARNED_NAMES],
    /// The place of `name` in its row.
    pub place: u32,
    /// The name that was there when it was chosen.
    pub seen: u64,
    /// Set when the ring gave a place.
    pub placed: u32,
    /// Set when some address found no room.
    pub full: u32,
    /// Never written.
    zero: LearningRow,
}

#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// This processor's scratch memory. To be called once in a run.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a per-CPU value of integers only; programs of this CPU are not preempted by another one on it, and a run
    // calls this once.
    Some(unsafe { &mut *scratch })
}

/// Counters of [`LearningRow`].
#[derive(Clone, Copy)]
pub enum Counter {
    Learned,
    Evicted,
    Refused,
    Distrusted,
    Unread,
    Suppressed,
}

/// Counts one for the project.
#[inline(never)]
pub fn count(scratch: &Scratch, counter: Counter) {
    let Some(row) = learning(scratch) else {
        return;
    };
    // SAFETY: `learning` gives a row's address; the field is changed atomically here, and nowhere otherwise.
    unsafe {
        let field = match counter {
            Counter::Learned => &raw mut (*row).learned,
            Counter::Evicted => &raw mut (*row).evicted,
            Counter::Refused => &raw mut (*row).refused,
            Counter::Distrusted => &raw mut (*row).distrusted,
            Counter::Unread => &raw mut (*row).unread,
            Counter::Suppressed => &raw mut (*row).suppressed,
        };
        sys::fetch_add(field, 1);
    }
}

/// The project's next place in its ring; each is given once, to whichever processor.
#[inline(always)]
pub fn next_place(scratch: &Scratch) -> Option<u64> {
    let row = learning(scratch)?;
    // SAFETY: as in `count`.
    Some(unsafe { sys::fetch_add(&raw mut (*row).next, 1) })
}

/// Takes one event from the project's budget. Processors that do it at once may take one too many or too few.
#[inline(always)]
pub fn event_allowed(scratch: &Scratch) -> bool {
    let Some(row) = learning(scratch) else {
        return false;
    };
    // SAFETY: `learning` gives a row's address; the fields are read and written whole.
    unsafe {
        let start = &raw mut (*row).window_start;
        let sent = &raw mut (*row).sent;
        if scratch.now.wrapping_sub(start.read_volatile()) >= lease::SECOND {
            start.write_volatile(scratch.now);
            sent.write_volatile(0);
        }
        let before = sent.read_volatile();
        if before >= EVENTS_PER_SECOND {
            return false;
        }
        sent.write_volatile(before + 1);
    }
    true
}

/// The project's row, which is made if it has none.
#[inline(always)]
fn learning(scratch: &Scratch) -> Option<*mut LearningRow> {
    let key = &scratch.event.project;
    if let Some(row) = LEARNING.get_ptr_mut(key) {
        return Some(row);
    }
    // Another processor may be faster.
    let _ignored = LEARNING.insert(key, &scratch.zero, IF_NEW);
    LEARNING.get_ptr_mut(key)
}
