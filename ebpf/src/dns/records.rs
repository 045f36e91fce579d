//! The answer section.

use super::reader::{Fault, Reader, Repeat, Step};
use super::{MESSAGE_BYTES, RECORDS, kind};
use crate::addr::Addr;

/// Rounds that reading takes at most: a round reads a label of two bytes or more, or the rest of a record of eleven or more.
const ROUNDS: u32 = MESSAGE_BYTES / 2 + RECORDS;
/// Type, class, TTL and length of a record (RFC 1035 section 4.1.3).
const FIXED: u32 = 10;
/// Class IN
const INTERNET: u16 = 1;
/// A time to live has 31 bits; larger ones count as zero (RFC 2181 section 8).
const TTL_MAX: u32 = 0x7fff_ffff;

impl Reader {
    /// Reads the answer section behind the question; what was found before a fault stays.
    ///
    /// # Errors
    /// What kept it from being read to its end.
    #[inline(always)]
    pub fn read_answers<R: Repeat>(&mut self) -> Result<(), Fault> {
        self.count = 0;
        self.alias_ttl = TTL_MAX;
        let records = u32::from(self.u16(6));
        if records == 0 {
            return Ok(());
        }
        self.left = if records < RECORDS { records } else { RECORDS };
        self.done = 0;
        R::repeat::<Self, Piece>(ROUNDS, self);
        if self.done == 0 {
            Err(Fault::Unreadable)
        } else if records > RECORDS {
            Err(Fault::TooMany)
        } else {
            Ok(())
        }
    }

    /// Reads the record whose fixed part is at `at`; tells where the next one begins.
    #[inline(always)]
    fn read_record(&mut self, at: u32) -> Option<u32> {
        if at + FIXED > self.len {
            return None;
        }
        let data = at + FIXED;
        let len = u32::from(self.u16(at + 8));
        if data + len > self.len {
            return None;
        }
        if self.u16(at + 2) != INTERNET {
            return Some(data + len);
        }
        let ttl = self.u32(at + 4);
        let ttl = if ttl > TTL_MAX { 0 } else { ttl };
        match self.u16(at) {
            kind::CNAME if ttl < self.alias_ttl => self.alias_ttl = ttl,
            kind::A => {
                if len != 4 {
                    return None;
                }
                let b = self.u32(data).to_be_bytes();
                self.add(Addr::v4(b), ttl);
            }
            kind::AAAA => {
                if len != 16 {
                    return None;
                }
                let mut bytes = [0; 16];
                let mut i = 0;
                while i < 16 {
                    bytes[i as usize] = self.byte(data + i);
                    i += 1;
                }
                self.add(Addr(bytes), ttl);
            }
            _ => {}
        }
        Some(data + len)
    }

    #[inline(always)]
    fn add(&mut self, addr: Addr, ttl: u32) {
        let index = (self.count % RECORDS) as usize;
        self.addrs[index] = addr;
        self.ttls[index] = ttl;
        self.count += 1; // at most `left` times
    }
}

/// One label of a record's name, or the end of the name and the rest of the record.
struct Piece;

impl Step<Reader> for Piece {
    #[inline(always)]
    fn step(reader: &mut Reader, _: u32) -> bool {
        let at = reader.at;
        if at >= reader.len {
            return false;
        }
        // Labels of up to 63 bytes, or a pointer of two bytes that begins with two bits set (RFC 1035 section 4.1.4).
        let len = reader.byte(at);
        let at = match len {
            1..=0x3f => {
                reader.at = at + 1 + u32::from(len);
                return true;
            }
            0 => at + 1,
            0xc0.. => at + 2,
            _ => return false,
        };
        let Some(next) = reader.read_record(at) else {
            return false;
        };
        reader.at = next;
        reader.left -= 1;
        if reader.left == 0 {
            reader.done = 1;
        }
        reader.left != 0
    }
}
