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

use crate::Mounts;
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
    create(path).map_err(|source| fail("create the file", errno(&source)))?;
    bind(handle, path).map_err(|source| {
        // The mount's failure is the one to report.
        drop(fs::remove_file(path));
        fail("mount", source)
    })
}

/// [`pin`] on a file that is there: empty, and without a mount on it.
pub(crate) fn pin_on(kind: Kind, handle: &Handle, path: &Path) -> Result<(), Error> {
    bind(handle, path).map_err(|source| Error::Pin {
        kind,
        path: path.to_owned(),
        call: "mount",
        source,
    })
}

/// The file of a pin. Nobody reads or writes it.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o000);
    options.open(path).map(drop)
}

fn bind(handle: &Handle, path: &Path) -> Result<(), Errno> {
    let source = proc_path(handle.as_fd());
    let none: Option<&str> = None;
    mount(Some(source.as_str()), path, none, MsFlags::MS_BIND, none)
}

/// Makes iproute2's directory a shared mount, so that names made in one mount namespace are seen and can be deleted
/// in the others. `ip netns add` does the same under the same lock; whoever comes second changes nothing.
///
/// The names that are there stay visible, and can be removed: on a private mount, iproute2 leaves a second, hidden mount
/// on each of their files, which keeps the file from being removed.
pub(crate) fn share(directory: &Path) -> Result<(), (&'static str, io::Error)> {
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
                .map_err(|source| ("bind the directory onto itself", source.into()))?;
            let mounts = Mounts::here().map_err(|error| ("look at", io::Error::other(error)))?;
            // As the peer of what it was bound from, it has no hidden mounts: unmounting above unmounts below.
            if !matches!(mounts.propagation(directory), Some((_, true))) {
                drop_hidden(&lock, directory)?;
            }
            shared().map_err(|source| ("make the directory a shared mount", source.into()))
        }
        done => done.map_err(|source| ("make the directory a shared mount", source.into())),
    }
}

/// Takes away what is mounted below the directory that `lower` is open on and was copied to `upper`, which lies over it.
fn drop_hidden(lower: &File, upper: &Path) -> Result<(), (&'static str, io::Error)> {
    let fail = |source| ("look for the directory's names", source);
    for entry in fs::read_dir(upper).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let hidden = Path::new(&proc_path(lower.as_fd())).join(name);
        let is_pin = nix::sys::statfs::statfs(&hidden)
            .is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC);
        if is_pin {
            umount2(&hidden, MntFlags::MNT_DETACH)
                .map_err(|source| ("unmount a hidden name", source.into()))?;
        }
    }
    Ok(())
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
