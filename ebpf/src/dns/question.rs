//! Header and question.

use super::kind;
use super::reader::{Fault, NAME_WORDS, Reader, Repeat, Step};

/// Bytes of the header (RFC 1035 section 4.1.1); the question follows at once.
pub(super) const HEADER: u32 = 12;
/// The longest name, and its most labels with the root (RFC 1035 section 3.1).
const NAME_MAX: u32 = 255;
const LABELS_MAX: u32 = 128;
const LABEL_MAX: u8 = 63;
/// Class IN
const INTERNET: u16 = 1;

/// Flags of the header: answer (in its first byte), kind of query, truncated, outcome.
const ANSWER: u8 = 0x80;
const OPCODE: u32 = 0x7800;
const TRUNCATED: u32 = 0x0200;
const RCODE: u32 = 0x000f;

impl Reader {
    /// Reads header and question of a message that asks for addresses, or answers that.
    ///
    /// # Errors
    /// It is another kind of message, or unreadable; the name is then not known.
    #[inline(always)]
    pub fn read_question<R: Repeat>(&mut self) -> Result<(), Fault> {
        self.name_len = 0;
        self.count = 0;
        if self.len < HEADER {
            return Err(Fault::Unreadable);
        }
        self.id = self.u16(0);
        self.flags = u32::from(self.u16(2));
        if self.flags & OPCODE != 0 {
            return Err(Fault::Foreign);
        }
        if self.u16(4) != 1 {
            return Err(Fault::Unreadable);
        }
        self.at = HEADER;
        self.done = 0;
        R::repeat::<Self, Label>(LABELS_MAX, self);
        if self.done == 0 || self.at + 4 > self.len {
            return Err(Fault::Unreadable);
        }
        self.kind = self.u16(self.at);
        if self.u16(self.at + 2) != INTERNET || !kind::asks_addresses(self.kind) {
            return Err(Fault::Foreign);
        }
        self.name_len = self.at - HEADER;
        self.at += 4;
        self.hash = 0;
        R::repeat::<Self, Word>(NAME_WORDS, self);
        Ok(())
    }

    /// Whether it is an answer (QR), read or not; what is too short for that is none.
    #[inline(always)]
    pub const fn is_answer(&self) -> bool {
        self.len > 2 && self.bytes[2] & ANSWER != 0
    }

    /// Whether it says that it was cut (TC).
    #[inline(always)]
    pub const fn is_truncated(&self) -> bool {
        self.flags & TRUNCATED != 0
    }

    /// Whether the question could be answered.
    #[inline(always)]
    pub const fn is_success(&self) -> bool {
        self.flags & RCODE == 0
    }

    /// 64 bits of the question's name. They tell one question of a pod from its next; nobody gains by two equal ones.
    #[inline(always)]
    pub const fn name_hash(&self) -> u64 {
        self.hash
    }
}

/// Eight bytes of the question's name: copied with letters in lower case, zeros behind its end. Lengths of labels are below
/// every letter, so that they stay as they are.
struct Word;

impl Step<Reader> for Word {
    #[inline(always)]
    fn step(reader: &mut Reader, index: u32) -> bool {
        let index = index % NAME_WORDS;
        let from = (HEADER + 8 * index) as usize;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&reader.bytes[from..from + 8]);
        let before = 8 * index;
        let word = if reader.name_len > before {
            lower(u64::from_ne_bytes(bytes)) & first_bytes(reader.name_len - before)
        } else {
            0
        };
        reader.name[index as usize] = word;
        let hash = (reader.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        reader.hash = hash ^ hash >> 29;
        true
    }
}

/// A mask of the first `n` of eight bytes, of all if there are more; 0 < n.
#[inline(always)]
fn first_bytes(n: u32) -> u64 {
    if n >= 8 {
        return u64::MAX;
    }
    let bits = 8 * n;
    if cfg!(target_endian = "big") {
        !(u64::MAX >> bits)
    } else {
        !(u64::MAX << bits)
    }
}

/// ASCII letters of eight bytes in lower case.
#[inline(always)]
fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ONES);
    let from_a = low + (0x80 - 0x41) * ONES;
    let beyond_z = low + (0x80 - 0x5b) * ONES;
    let upper = (from_a & !beyond_z) & !word & (0x80 * ONES);
    word | (upper >> 2)
}

/// One label of the question's name.
struct Label;

impl Step<Reader> for Label {
    #[inline(always)]
    fn step(reader: &mut Reader, _: u32) -> bool {
        let at = reader.at;
        if at >= reader.len {
            return false;
        }
        let len = reader.byte(at);
        let next = at + 1 + u32::from(len);
        // A pointer could only lead into the header: nothing else stands before.
        if len > LABEL_MAX || next - HEADER > NAME_MAX {
            return false;
        }
        reader.at = next;
        if len == 0 {
            reader.done = 1;
        }
        len != 0
    }
}
