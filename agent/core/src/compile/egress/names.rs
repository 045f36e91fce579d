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

/// The wildcards that stand for whatever a pattern stands for, but itself: the nearest first.
pub(super) fn wildcards(pattern: &NamePattern) -> impl Iterator<Item = NamePattern> {
    pattern.name().parents().map(NamePattern::Below)
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

/// The name that DNS carries so; `None` if it is none that a rule could name.
pub fn name_of_key(key: &NameKey) -> Option<DnsName> {
    let mut text = String::new();
    let mut rest = &key.0[..];
    loop {
        let (len, after) = rest.split_first()?;
        if *len == 0 {
            return text.parse().ok();
        }
        let label = after.get(..usize::from(*len))?;
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
        rest = &after[label.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_name_are_one() {
        for text in ["a", "www.example.com", &["abc"; 63].join(".")] {
            let name: DnsName = text.parse().unwrap();
            assert_eq!(name_of_key(&name_key(&name)), Some(name));
        }
        assert_eq!(name_of_key(&NameKey([0; NAME_BYTES])), None, "the root");
        assert_eq!(
            name_of_key(&NameKey([63; NAME_BYTES])),
            None,
            "without an end"
        );
    }
}
