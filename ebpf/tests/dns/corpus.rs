//! The fuzzer's corpus, as it is and changed: what `make fuzz` does for longer.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::any_bytes::read_all;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/dns_message");
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn as_it_is() {
    let corpus = corpus();
    assert!(corpus.len() >= 10, "{} messages", corpus.len());
    for message in corpus {
        read_all(&message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    /// Bytes replaced, removed and doubled, and the ends of two messages swapped.
    #[test]
    fn changed(
        first in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((0..3_u8, any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        thread_local! {
            static CORPUS: Vec<Vec<u8>> = corpus();
        }
        let mut bytes = CORPUS.with(|all| {
            let (a, b) = (first.get(all), second.get(all));
            let at = cut.index(a.len().min(b.len()));
            [&a[..at], &b[at..]].concat()
        });
        for (kind, at, byte) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        read_all(&bytes);
    }
}
