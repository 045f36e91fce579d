//! DNS names as keys and numbers.

use sha2::{Digest, Sha256};
use weft_ebpf::rows::dns::{NAME_BYTES, NameKey};

use crate::model::{DnsName, NamePattern, number};

/// Stands for a name in rules and in what is learned: 64 bits of its text's SHA-256.
pub fn name_number(pattern: &NamePattern) -> u64 {
    let mut digest = Sha256::new();
    digest.update(pattern.to_string());
    number(digest)
}

/// The name as DNS carries it.
pub fn name_key(name: &DnsName) -> NameKey {
    let mut key = [0; NAME_BYTES];
    let mut at = 0;
    for label in name.labels() {
        // 253 characters of text are at most 255 bytes with lengths and root.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a label has at most 63 bytes"
        )]
        let len = label.len() as u8;
        key[at] = len;
        key[at + 1..at + 1 + label.len()].copy_from_slice(label.as_bytes());
        at += 1 + label.len();
    }
    NameKey(key)
}
