//! Network namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;

use crate::enter::{on_own_thread, run, unshare};
use crate::error::Error;
use crate::namespace::{Handle, Kind, NsId};
use crate::pin::pin;

const KIND: Kind = Kind::Network;

/// A network namespace, kept alive by the descriptor in here.
#[derive(Debug)]
pub struct NetNs(Handle);

impl NetNs {
    /// Opens a name made by [`NetNs::pin`], `ip netns add` or a container runtime, or a `/proc/PID/ns/net`. Refuses
    /// whatever is no network namespace without opening it for reading.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Handle::open(KIND, path.as_ref()).map(Self)
    }

    /// The namespace of a process (or thread, by its number). The caller sees to it that the number has not been
    /// given to another process.
    pub fn of_pid(pid: u32) -> Result<Self, Error> {
        Handle::of_pid(KIND, pid).map(Self)
    }

    /// The calling thread's.
    pub fn current() -> Result<Self, Error> {
        Handle::current(KIND).map(Self)
    }

    /// Takes over a descriptor, for example one that came over a socket. Refuses one that is no network namespace.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        Handle::from_fd(KIND, fd).map(Self)
    }

    /// A new namespace without a name. Its only interface is `lo`, down.
    pub fn create() -> Result<Self, Error> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|source| Error::Create {
                kind: KIND,
                call: "unshare",
                source,
            })?;
            Self::current()
        })
    }

    /// A new namespace with a name, see [`NetNs::pin`].
    pub fn create_at(path: impl AsRef<Path>) -> Result<Self, Error> {
        let new = Self::create()?;
        new.pin(path)?;
        Ok(new)
    }

    /// Gives the namespace a name, under which it outlives this process until [`crate::unpin`]. The name must be free, its
    /// directory must exist (only `/run/netns` is made, the way `ip netns` makes it). A failure leaves nothing behind.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        pin(KIND, &self.0, path.as_ref())
    }

    /// Runs `work` inside, on a thread of its own that ends there. Sockets that `work` opens and returns stay in the
    /// namespace; threads and child processes that it starts are born in it. A panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.run_beside(work, || ()).map(|(done, ())| done)
    }

    /// [`NetNs::run`], and `meanwhile` on the calling thread at the same time, where it always was. Returns when both have
    /// ended; an error means that the thread could not be started (then `meanwhile` did not run) or could not enter.
    pub fn run_beside<T: Send, U>(
        &self,
        work: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce() -> U,
    ) -> Result<(T, U), Error> {
        run(KIND, self.0.as_fd(), work, meanwhile)
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

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<NetNs> for OwnedFd {
    fn from(ns: NetNs) -> Self {
        ns.0.into_fd()
    }
}
