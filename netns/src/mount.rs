//! Mount namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::enter::{on_own_thread, run, unshare};
use crate::error::Error;
use crate::namespace::{Handle, Kind, NsId};
use crate::pin::{pin, pin_on};

const KIND: Kind = Kind::Mount;

fn fail(call: &'static str, source: Errno) -> Error {
    let kind = KIND;
    Error::Create { kind, call, source }
}

/// Changes the propagation of every mount of the calling thread's namespace.
fn change_all(propagation: MsFlags) -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | propagation, none)
}

/// Keeps the calling thread on a CPU.
fn stay_on(cpu: usize) -> Result<(), Errno> {
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &one)
}

/// A mount namespace, kept alive by the descriptor in here.
#[derive(Debug)]
pub struct MountNs(Handle);

impl MountNs {
    /// Opens a pinned mount namespace or a `/proc/PID/ns/mnt`; refuses whatever is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Handle::open(KIND, path.as_ref()).map(Self)
    }

    /// The namespace of a process (or thread, by its number).
    pub fn of_pid(pid: u32) -> Result<Self, Error> {
        Handle::of_pid(KIND, pid).map(Self)
    }

    /// The calling thread's.
    pub fn current() -> Result<Self, Error> {
        Handle::current(KIND).map(Self)
    }

    /// Takes over a descriptor; refuses one that is no mount namespace.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        Handle::from_fd(KIND, fd).map(Self)
    }

    /// A new namespace with a copy of the caller's mounts, and what `setup` returned, which ran inside and may mount.
    ///
    /// All mounts are slaves of the originals: what is mounted outside later appears inside, nothing mounted inside
    /// gets out. `setup` may use [`crate::NetNs::run`]; a `sysfs` mounted from there shows that network namespace.
    /// When `setup` reports a failure, drop the handle and the namespace is gone with everything mounted in it.
    pub fn create_private<T: Send>(setup: impl FnOnce() -> T + Send) -> Result<(Self, T), Error> {
        on_own_thread(|| Ok((Self::unshare()?, setup())))
    }

    /// [`Self::create_private`], and then each mount is also shared with the namespaces that are made from this one:
    /// "slave and shared" (`Documentation/filesystems/sharedsubtree.rst`; `shared:N master:M` in mountinfo). What is
    /// mounted inside comes to those, and nothing gets out of here.
    ///
    /// With `cpu`, on that CPU: see [`Self::pin`].
    pub fn create_encapsulated<T: Send>(
        cpu: Option<usize>,
        setup: impl FnOnce() -> T + Send,
    ) -> Result<(Self, T), Error> {
        on_own_thread(|| {
            if let Some(cpu) = cpu {
                stay_on(cpu).map_err(|source| fail("sched_setaffinity", source))?;
            }
            let new = Self::unshare()?;
            change_all(MsFlags::MS_SHARED)
                .map_err(|source| fail("make every mount shared", source))?;
            Ok((new, setup()))
        })
    }

    /// [`Self::create_private`] with each mount as it is: what is shared stays a peer of the original, and what is mounted
    /// in either is seen in both.
    pub fn create_peer<T: Send>(setup: impl FnOnce() -> T + Send) -> Result<(Self, T), Error> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS).map_err(|source| fail("unshare", source))?;
            Ok((Self::current()?, setup()))
        })
    }

    /// Gives the calling thread a new namespace, for good.
    fn unshare() -> Result<Self, Error> {
        // CLONE_NEWNS implies CLONE_FS: the working directory is this thread's own from here on.
        unshare(CloneFlags::CLONE_NEWNS).map_err(|source| fail("unshare", source))?;
        change_all(MsFlags::MS_SLAVE).map_err(|source| fail("make every mount a slave", source))?;
        Self::current()
    }

    /// Gives the namespace a name until [`crate::unpin`]. The kernel takes only a directory on a private mount, and
    /// only in a mount namespace older than this one (the machine's first always is; between two others, kernels from
    /// 6.18 on tell the age reliably only if both were made on one CPU, and answer `EINVAL` otherwise).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        pin(KIND, &self.0, path.as_ref())
    }

    /// [`Self::pin`] on an empty file that is there and has no mount on it.
    pub fn pin_on(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        pin_on(KIND, &self.0, path.as_ref())
    }

    /// Runs `work` inside, on a thread of its own that ends there. Its working directory is the namespace's root. A
    /// panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        run(KIND, self.0.as_fd(), work, || ()).map(|(done, ())| done)
    }

    /// Equal for two handles of one namespace.
    pub fn id(&self) -> NsId {
        self.0.id()
    }

    /// Another handle of the same namespace.
    pub fn try_clone(&self) -> Result<Self, Error> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for MountNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<MountNs> for OwnedFd {
    fn from(ns: MountNs) -> Self {
        ns.0.into_fd()
    }
}
