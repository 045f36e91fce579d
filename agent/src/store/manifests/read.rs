//! Reads manifest files and tells whether they changed.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::document::{Format, parse};
use crate::store::Object;

/// A larger file is refused; 16 MiB are about 50,000 objects.
const MAX_BYTES: u64 = 16 << 20;

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file's content, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) stamp: Option<Stamp>,
    pub(super) objects: Result<Vec<Object>, String>,
}

/// Reads a file; `None` if there is no such file (any more).
pub(super) fn read(path: &Path) -> Option<Reading> {
    let format = Format::of(path)?;
    match read_text(path) {
        Ok(Some((stamp, text))) => Some(Reading {
            stamp: Some(stamp),
            objects: text.and_then(|text| objects(path, &text, format)),
        }),
        Ok(None) => None,
        Err(error) => Some(Reading {
            stamp: None,
            objects: Err(format!("cannot be read: {error}")),
        }),
    }
}

/// The objects of a text, marked with the file's path.
pub(super) fn objects(path: &Path, text: &str, format: Format) -> Result<Vec<Object>, String> {
    let documents = parse(text, format)?;
    let all = documents.into_iter().flat_map(|d| d.body.into_objects());
    Ok(all
        .map(|mut object| {
            object.file = Some(path.to_owned());
            object
        })
        .collect())
}

/// The text of a regular file, or why it cannot be text; `None` if there is no such file.
pub(super) fn read_text(path: &Path) -> io::Result<Option<(Stamp, Result<String, String>)>> {
    // A FIFO by this name must not hold us up.
    let opened = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    let text = if bytes.len() as u64 > MAX_BYTES {
        Err(format!("is larger than {} MiB: split it", MAX_BYTES >> 20))
    } else {
        String::from_utf8(bytes).map_err(|e| format!("is not UTF-8 text: {e}"))
    };
    Ok(Some((Stamp::of(&meta), text)))
}

/// The manifests in a directory with their stamps (`None` where a file cannot be looked at).
pub(super) fn scan(dir: &Path) -> io::Result<Vec<(PathBuf, Option<Stamp>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if Format::of(&path).is_none() {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => found.push((path, Some(Stamp::of(&meta)))),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => found.push((path, None)),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
