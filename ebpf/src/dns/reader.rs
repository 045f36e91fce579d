//! One message, and what was read of it.

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{MESSAGE_BYTES, RECORDS};
use crate::addr::Addr;
use crate::rows::dns::{NAME_BYTES, NameKey, why};

/// Words of a name.
pub(super) const NAME_WORDS: u32 = 32;

/// One round of a loop over `S`; false ends it.
pub trait Step<S> {
    /// Makes the round number `index`.
    fn step(state: &mut S, index: u32) -> bool;
}

/// How a loop is run.
pub trait Repeat {
    /// Makes up to `times` rounds.
    fn repeat<S, F: Step<S>>(times: u32, state: &mut S);
}

/// An ordinary loop, for everything but the kernel.
pub struct InOrder;

impl Repeat for InOrder {
    fn repeat<S, F: Step<S>>(times: u32, state: &mut S) {
        for index in 0..times {
            if !F::step(state, index) {
                return;
            }
        }
    }
}

/// Why a message, or the rest of one, is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no query or answer about addresses in the Internet's class: nobody's loss.
    Foreign,
    /// It ends too early, contradicts itself, or has forms that nobody sends.
    Unreadable,
    /// It has more records than are read.
    TooMany,
}

impl Fault {
    /// The reason that the agent is given.
    #[inline(always)]
    pub const fn why(self) -> u32 {
        match self {
            Self::Foreign => 0,
            Self::Unreadable => why::UNREADABLE,
            Self::TooMany => why::TOO_MANY,
        }
    }
}

/// One message, and what was read of it. It lies in the data path's scratch memory, where any bytes may stand before: what is
/// read first is set first.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Reader {
    /// The message.
    pub bytes: [u8; MESSAGE_BYTES as usize],
    /// The question's name in lower case, and zeros behind it: the bytes behind a label are a name key again, that of the
    /// domain above.
    pub(super) name: [u64; 2 * NAME_WORDS as usize],
    /// Hash of the name.
    pub(super) hash: u64,
    /// Addresses of the answer section.
    pub(super) addrs: [Addr; RECORDS as usize],
    /// Their times to live, seconds.
    pub(super) ttls: [u32; RECORDS as usize],
    /// Bytes of the message that there are.
    pub len: u32,
    /// Addresses found.
    pub(super) count: u32,
    /// Shortest time to live among the aliases, seconds.
    pub(super) alias_ttl: u32,
    /// Where reading stands.
    pub(super) at: u32,
    /// Records left to read.
    pub(super) left: u32,
    /// Bytes of the question's name.
    pub(super) name_len: u32,
    /// Set when a loop came to the end of what it reads.
    pub(super) done: u32,
    /// The question's type.
    pub(super) kind: u16,
    /// The header's ID.
    pub(super) id: u16,
    /// The header's flags.
    pub(super) flags: u32,
}

impl Reader {
    /// A message of up to [`MESSAGE_BYTES`]; what is longer is cut.
    pub fn new(message: &[u8]) -> Self {
        let mut reader = Self {
            bytes: [0; MESSAGE_BYTES as usize],
            name: [0; 2 * NAME_WORDS as usize],
            hash: 0,
            addrs: [Addr::UNSPECIFIED; RECORDS as usize],
            ttls: [0; RECORDS as usize],
            len: 0,
            count: 0,
            alias_ttl: 0,
            at: 0,
            left: 0,
            name_len: 0,
            done: 0,
            kind: 0,
            id: 0,
            flags: 0,
        };
        for (to, from) in reader.bytes.iter_mut().zip(message) {
            *to = *from;
            reader.len += 1;
        }
        reader
    }

    /// The header's ID.
    #[inline(always)]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// The question's type.
    #[inline(always)]
    pub const fn kind(&self) -> u16 {
        self.kind
    }

    /// The question's name, or the domain that begins at byte `at` of it.
    #[inline(always)]
    pub fn name(&self, at: u32) -> &NameKey {
        let at = at as usize % NAME_BYTES;
        let bytes = &self.name.as_bytes()[at..at + NAME_BYTES];
        NameKey::ref_from_bytes(bytes).unwrap_or(&NO_NAME)
    }

    /// The question's name; zeros if it was not read.
    #[inline(always)]
    pub fn question_name(&self) -> &NameKey {
        if self.name_len == 0 {
            &NO_NAME
        } else {
            self.name(0)
        }
    }

    /// Where the domain above the one at byte `at` of the question's name begins; `None` if that is the root.
    #[inline(always)]
    pub fn above(&self, at: u32) -> Option<u32> {
        let label = u32::from(self.name(at).0[0]);
        let next = at + label + 1;
        (label != 0 && next + 1 < self.name_len).then_some(next)
    }

    /// How many addresses were found.
    #[inline(always)]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The address number `index`, and how long it holds in seconds: no longer than any alias on the way to it.
    #[inline(always)]
    pub fn found(&self, index: u32) -> (&Addr, u32) {
        let index = (index % RECORDS) as usize;
        let ttl = self.ttls[index];
        let ttl = if ttl < self.alias_ttl {
            ttl
        } else {
            self.alias_ttl
        };
        (&self.addrs[index], ttl)
    }

    /// The byte at `at`; the caller has compared it with `len`.
    #[inline(always)]
    pub(super) fn byte(&self, at: u32) -> u8 {
        self.bytes[(at % MESSAGE_BYTES) as usize]
    }

    #[inline(always)]
    pub(super) fn u16(&self, at: u32) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    #[inline(always)]
    pub(super) fn u32(&self, at: u32) -> u32 {
        let b = [
            self.byte(at),
            self.byte(at + 1),
            self.byte(at + 2),
            self.byte(at + 3),
        ];
        u32::from_be_bytes(b)
    }
}

static NO_NAME: NameKey = NameKey([0; NAME_BYTES]);

const _: () = assert!(8 * NAME_WORDS as usize == NAME_BYTES);
const _: () = assert!(MESSAGE_BYTES.is_power_of_two() && RECORDS.is_power_of_two());
