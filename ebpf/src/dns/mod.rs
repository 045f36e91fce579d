//! DNS messages (RFC 1035), read as far as learning addresses from them needs.
//!
//! # Layout
//! - [`carrier`]: where in a frame a message lies, and whether it is there as a whole
//! - [`Reader`]: one message in memory, and what was read of it
//! - `question`: its header and its question
//! - `records`: its answer section
//! - [`lease`]: how long an answer counts, and which place it takes in a row
//!
//! A message is copied out of its packet once and read where it then lies. Nothing is followed: a name in front of a record
//! is skipped, whether it is spelled out or a pointer, so that no message makes the reader go round. An owner check would
//! add nothing: whoever answers for a name, or for a name that it is an alias of, can answer with any address.
//!
//! Work is bounded by [`MESSAGE_BYTES`] and [`RECORDS`]. Loops go through [`Repeat`], which the data path implements with the
//! kernel's helper for them; their state lies in the [`Reader`], of which the verifier assumes nothing, so that it checks
//! one round for all.

pub mod carrier;
pub mod lease;
mod question;
mod reader;
mod records;

pub use reader::{Fault, InOrder, Reader, Repeat, Step};

/// Bytes of a message that are read: what EDNS (RFC 6891 section 6.2.5) recommends as most.
pub const MESSAGE_BYTES: u32 = 4096;
/// Records of an answer section that are read.
pub const RECORDS: u32 = 128;
/// Where a name server listens.
pub const PORT: u16 = 53;

/// Types of records and questions (IANA).
pub mod kind {
    /// An IPv4 address
    pub const A: u16 = 1;
    /// Another name for the owner
    pub const CNAME: u16 = 5;
    /// An IPv6 address (RFC 3596)
    pub const AAAA: u16 = 28;
    /// A question for all types
    pub const ANY: u16 = 255;

    /// Whether the answer may hold addresses.
    #[inline(always)]
    pub const fn asks_addresses(kind: u16) -> bool {
        matches!(kind, A | AAAA | ANY)
    }
}
