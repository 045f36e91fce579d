//! Kernel settings of the calling thread's network namespace.

use std::{fs, io, path::PathBuf};

/// Path of a setting, given as a path below `/proc/sys`.
pub fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key)
}

/// Its value; `None` when the kernel has no such setting (no such device, no IPv6).
pub fn read(key: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(path(key)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes it.
pub fn write(key: &str, value: &str) -> io::Result<()> {
    fs::write(path(key), value)
}
