//! The only calls of `setns` and `unshare`.

use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::thread;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::error::Error;
use crate::namespace::Kind;

/// Runs `work` on a thread of its own, which may change its namespaces because it ends with `work`. A panic goes on
/// in the caller.
pub(crate) fn on_own_thread<T: Send>(
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    beside(work, || ()).map(|(done, ())| done)
}

/// [`on_own_thread`], and `meanwhile` on the calling thread at the same time. Returns when both have ended.
fn beside<T: Send, U>(
    work: impl FnOnce() -> Result<T, Error> + Send,
    meanwhile: impl FnOnce() -> U,
) -> Result<(T, U), Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".into())
            .spawn_scoped(scope, work)
            .map_err(Error::Thread)?;
        let own = meanwhile();
        let done = thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((done, own))
    })
}

/// Moves the calling thread, for good. Async-signal-safe: also runs between `fork` and `exec`.
///
/// Fails with the name of the call.
pub(crate) fn enter(kind: Kind, fd: BorrowedFd<'_>) -> Result<(), (&'static str, Errno)> {
    if kind == Kind::Mount {
        // The kernel answers EINVAL as long as another thread shares this one's root and working directory.
        unshare(CloneFlags::CLONE_FS).map_err(|source| ("unshare(CLONE_FS)", source))?;
    }
    #[expect(clippy::disallowed_methods, reason = "this is weft-netns")]
    nix::sched::setns(fd, kind.flag()).map_err(|source| ("setns", source))
}

/// Gives the calling thread new ones, for good.
pub(crate) fn unshare(flags: CloneFlags) -> Result<(), Errno> {
    #[expect(clippy::disallowed_methods, reason = "this is weft-netns")]
    nix::sched::unshare(flags)
}

/// [`enter`] on a thread of its own, then `work` there; `meanwhile` here.
pub(crate) fn run<T: Send, U>(
    kind: Kind,
    fd: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce() -> U,
) -> Result<(T, U), Error> {
    let inside = || {
        enter(kind, fd).map_err(|(call, source)| Error::Enter { kind, call, source })?;
        Ok(work())
    };
    beside(inside, meanwhile)
}
