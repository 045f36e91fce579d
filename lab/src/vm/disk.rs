//! Disk images out of folders, without mounting anything.

use std::fs;
use std::path::Path;

use super::Error;
use super::error::file;
use super::tool::{run, tool};

/// Makes an ext4 image of what a folder holds, with room for so many more bytes. No journal: an image is thrown away
/// after a crash.
pub(super) fn ext4(directory: &Path, image: &Path, room: u64) -> Result<(), Error> {
    // A block for each file's end, and a tenth for inodes and tables.
    let (bytes, files) = weigh(directory)?;
    let size = (bytes + files * 4096) * 11 / 10 + room + (4 << 20);
    let mut mke2fs = tool("mke2fs", "e2fsprogs")?;
    mke2fs
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0"])
        .args(["-E", "root_owner=0:0"])
        .args(["-N", &(files + files / 4 + 1024).to_string(), "-d"])
        .arg(directory)
        .arg(image)
        .arg(format!("{}k", size / 1024));
    run(&mut mke2fs).map(drop)
}

/// Bytes and number of files below a folder.
fn weigh(directory: &Path) -> Result<(u64, u64), Error> {
    let mut total = (0, 1);
    for entry in fs::read_dir(directory).map_err(file("read", directory))? {
        let entry = entry.map_err(file("read", directory))?;
        let path = entry.path();
        let data = entry.metadata().map_err(file("read", &path))?;
        if data.is_dir() {
            let (bytes, files) = weigh(&path)?;
            total = (total.0 + bytes, total.1 + files);
        } else {
            total = (total.0 + data.len(), total.1 + 1);
        }
    }
    Ok(total)
}
