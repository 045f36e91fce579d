//! What the kernel finds before it finds disks: busybox, the modules that the disks need, and a script.

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Write as _};
use std::path::Path;

use cpio::NewcBuilder;

use super::Error;
use super::error::file;
use super::kernel::Kernel;
use super::tool::find;

const SCRIPT: &str = include_str!("guest/initramfs.sh");
const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

/// Writes the archive (cpio, newc: Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
pub(super) fn write(kernel: &Kernel, to: &Path) -> Result<(), Error> {
    let busybox = find("busybox", "busybox-static")?;
    let content = fs::read(&busybox).map_err(file("read", &busybox))?;
    let mut entries = vec![
        ("bin".to_owned(), DIRECTORY, Vec::new()),
        ("modules".to_owned(), DIRECTORY, Vec::new()),
        ("init".to_owned(), EXECUTABLE, SCRIPT.as_bytes().to_vec()),
        ("bin/busybox".to_owned(), EXECUTABLE, content),
    ];
    let modules = kernel.boot_modules();
    for entry in fs::read_dir(&modules)
        .map_err(file("read", &modules))?
        .flatten()
    {
        let content = fs::read(entry.path()).map_err(file("read", &entry.path()))?;
        let name = format!("modules/{}", entry.file_name().display());
        entries.push((name, EXECUTABLE, content));
    }
    let entries = entries
        .into_iter()
        .map(|(name, mode, content)| (NewcBuilder::new(&name).mode(mode), Cursor::new(content)));
    let out = BufWriter::new(File::create(to).map_err(file("create", to))?);
    cpio::write_cpio(entries, out)
        .and_then(|mut out| out.flush())
        .map_err(file("write", to))
}
