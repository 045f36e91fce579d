//! What network and mount namespaces have in common: a descriptor that was checked, an identity.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::error::{Error, errno};

/// Which of the kernel's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `CLONE_NEWNET`
    Network,
    /// `CLONE_NEWNS`
    Mount,
}

impl Kind {
    pub(crate) fn flag(self) -> CloneFlags {
        match self {
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Mount => CloneFlags::CLONE_NEWNS,
        }
    }

    /// The file's name under `/proc/PID/ns`.
    pub(crate) fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network namespace",
            Self::Mount => "mount namespace",
        })
    }
}

/// Identity of a namespace on this machine: the device and inode number of its nsfs file. Equal while either
/// namespace lives; the kernel reuses the numbers afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NsId {
    /// `st_dev`
    pub dev: u64,
    /// `st_ino`, the number that `readlink /proc/PID/ns/net` shows
    pub ino: u64,
}

/// A descriptor known to be a namespace of the kind its owner says.
#[derive(Debug)]
pub(crate) struct Handle {
    fd: OwnedFd,
    id: NsId,
}

impl Handle {
    pub(crate) fn open(kind: Kind, path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Open {
            kind,
            path: path.to_owned(),
            source,
        };
        // O_PATH first: opening a FIFO or a device for reading may block or set something off.
        let found = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail)?;
        let object = path.display().to_string();
        is_nsfs(kind, found.as_fd(), &object)?;
        let fd = open(
            proc_path(found.as_fd()).as_str(),
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(fail)?;
        Self::checked(kind, fd, object)
    }

    /// The calling thread's own: `/proc/self` would be the main thread's.
    pub(crate) fn current(kind: Kind) -> Result<Self, Error> {
        Self::open(
            kind,
            &Path::new("/proc/thread-self/ns").join(kind.proc_name()),
        )
    }

    pub(crate) fn of_pid(kind: Kind, pid: u32) -> Result<Self, Error> {
        Self::open(
            kind,
            Path::new(&format!("/proc/{pid}/ns/{}", kind.proc_name())),
        )
    }

    pub(crate) fn from_fd(kind: Kind, fd: OwnedFd) -> Result<Self, Error> {
        let object = format!("descriptor {}", fd.as_raw_fd());
        is_nsfs(kind, fd.as_fd(), &object)?;
        Self::checked(kind, fd, object)
    }

    fn checked(kind: Kind, fd: OwnedFd, object: String) -> Result<Self, Error> {
        // SAFETY: NS_GET_NSTYPE takes no argument; `fd` is open for the length of the call.
        #[expect(unsafe_code, reason = "nix has no wrapper for the ioctls of nsfs")]
        let asked = unsafe { nstype(fd.as_raw_fd()) };
        let fail = |call, source| Error::Descriptor {
            call,
            object: object.clone(),
            source,
        };
        let flag = asked.map_err(|source| fail("ioctl NS_GET_NSTYPE", source))?;
        if flag != kind.flag().bits() {
            return Err(Error::WrongKind {
                object,
                wanted: kind,
                found: namespace_name(flag),
            });
        }
        let stat = fstat(&fd).map_err(|source| fail("fstat", source))?;
        let id = NsId {
            dev: stat.st_dev,
            ino: stat.st_ino,
        };
        Ok(Self { fd, id })
    }

    pub(crate) fn id(&self) -> NsId {
        self.id
    }

    pub(crate) fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(|source| Error::Descriptor {
            call: "dup",
            object: format!("descriptor {}", self.fd.as_raw_fd()),
            source: errno(&source),
        })?;
        Ok(Self { fd, id: self.id })
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A path that leads to whatever `fd` is open on, without walking a name again.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd())
}

fn is_nsfs(wanted: Kind, fd: BorrowedFd<'_>, object: &str) -> Result<(), Error> {
    let fail = |call, source| Error::Descriptor {
        call,
        object: object.to_owned(),
        source,
    };
    let filesystem = fstatfs(fd).map_err(|source| fail("fstatfs", source))?;
    if filesystem.filesystem_type() == NSFS_MAGIC {
        return Ok(());
    }
    let stat = fstat(fd).map_err(|source| fail("fstat", source))?;
    Err(Error::NoNamespace {
        object: object.to_owned(),
        wanted,
        found: file_name(stat.st_mode),
    })
}

/// What a file that is no namespace is, for a message.
pub(crate) fn file_name(mode: u32) -> &'static str {
    match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        // A pin's file without its mount: the usual sight after the namespace was deleted or the machine restarted.
        SFlag::S_IFREG => "a regular file (no namespace is mounted on it)",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFSOCK => "a socket",
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFCHR | SFlag::S_IFBLK => "a device",
        _ => "a file of another kind",
    }
}

fn namespace_name(flag: i32) -> &'static str {
    match CloneFlags::from_bits_truncate(flag) {
        CloneFlags::CLONE_NEWNET => "a network namespace",
        CloneFlags::CLONE_NEWNS => "a mount namespace",
        CloneFlags::CLONE_NEWPID => "a PID namespace",
        CloneFlags::CLONE_NEWUSER => "a user namespace",
        CloneFlags::CLONE_NEWUTS => "a UTS namespace",
        CloneFlags::CLONE_NEWIPC => "an IPC namespace",
        CloneFlags::CLONE_NEWCGROUP => "a cgroup namespace",
        _ => "a namespace of another kind",
    }
}

nix::ioctl_none!(
    /// `NS_GET_NSTYPE`, `linux/nsfs.h`: the `CLONE_NEW*` flag of a namespace.
    nstype,
    0xb7,
    0x3
);
