//! Names for namespaces: an empty file with the namespace's nsfs file mounted on it, as iproute2 does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::error::{Error, errno};
use crate::namespace::{Handle, Kind, file_name, proc_path};

/// Where iproute2 keeps its names (`NETNS_RUN_DIR`), and the older spelling of it.
const IPROUTE_DIRS: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Names `handle`. A name that exists is refused, whatever it is; a failure leaves no file.
pub(crate) fn pin(kind: Kind, handle: &Handle, path: &Path) -> Result<(), Error> {
    let fail = |call, source| Error::Pin {
        kind,
        path: path.to_owned(),
        call,
        source,
    };
    if let Some(directory) = path.parent()
        && kind == Kind::Network
        && IPROUTE_DIRS
            .iter()
            .any(|known| directory == Path::new(known))
    {
        share(directory).map_err(|(call, source)| fail(call, errno(&source)))?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o000)
        .open(path)
        .map_err(|source| fail("create the file", errno(&source)))?;
    let source = proc_path(handle.as_fd());
    let none: Option<&str> = None;
    mount(Some(source.as_str()), path, none, MsFlags::MS_BIND, none).map_err(|source| {
        // The mount's failure is the one to report.
        drop(fs::remove_file(path));
        fail("mount", source)
    })
}

/// Makes iproute2's directory a shared mount, so that names made in one mount namespace are seen and can be deleted
/// in the others. `ip netns add` does the same under the same lock; whoever comes second changes nothing.
fn share(directory: &Path) -> Result<(), (&'static str, io::Error)> {
    fs::create_dir(directory)
        .or_else(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(source),
        })
        .map_err(|source| ("create the directory", source))?;
    let lock = File::open(directory).map_err(|source| ("open the directory", source))?;
    lock.lock()
        .map_err(|source| ("lock the directory", source))?;
    let none: Option<&str> = None;
    let shared = || {
        mount(
            none,
            directory,
            none,
            MsFlags::MS_SHARED | MsFlags::MS_REC,
            none,
        )
    };
    match shared() {
        // Not a mount point yet.
        Err(Errno::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(directory), directory, none, bind, none)
                .and_then(|()| shared())
                .map_err(|source| ("make the directory a shared mount", source.into()))
        }
        done => done.map_err(|source| ("make the directory a shared mount", source.into())),
    }
}

/// Takes a namespace's name away; the namespace itself lives on while a process or descriptor uses it.
///
/// Also removes what a crash between making the file and mounting on it left behind. Everything else is refused and
/// stays: another file, a symbolic link (`/proc/PID/ns/net` is one). A name that does not exist is an error with
/// errno `ENOENT`.
pub fn unpin(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let fail = |call, source| Error::Unpin {
        path: path.to_owned(),
        call,
        source,
    };
    // Pins can be stacked: two `ip netns attach` of one name, or a directory that was bound onto itself.
    loop {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = open(path, flags, Mode::empty()).map_err(|source| fail("open", source))?;
        let filesystem = fstatfs(&found).map_err(|source| fail("fstatfs", source))?;
        if filesystem.filesystem_type() == NSFS_MAGIC {
            drop(found);
            let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
            umount2(path, flags).map_err(|source| fail("umount", source))?;
            continue;
        }
        let stat = fstat(&found).map_err(|source| fail("fstat", source))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG
            || stat.st_size > 0
        {
            return Err(Error::NotPinned {
                path: path.to_owned(),
                found: file_name(stat.st_mode),
            });
        }
        return fs::remove_file(path).map_err(|source| fail("remove", errno(&source)));
    }
}
