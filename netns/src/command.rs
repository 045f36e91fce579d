//! Child processes inside namespaces.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::chdir;

use crate::enter::enter;
use crate::error::Error;
use crate::namespace::Kind;
use crate::{MountNs, NetNs};

/// Starts a [`Command`] inside namespaces: the child enters them between `fork` and `exec`, the caller stays where it
/// is. The command keeps its own handle of the namespace.
///
/// `uid` and `groups` of the command take effect before, so a child that drops privileges cannot enter.
pub trait CommandNs {
    /// The child runs in this network namespace.
    fn net_ns(&mut self, ns: &NetNs) -> Result<&mut Self, Error>;

    /// The child runs in this mount namespace, and its program is looked up there.
    ///
    /// Entering puts a process at the namespace's root, so the working directory is walked to again by name: the one
    /// set by `current_dir` before this call must exist on both sides (else the start fails), the caller's own is
    /// tried and given up for `/`.
    fn mount_ns(&mut self, ns: &MountNs) -> Result<&mut Self, Error>;
}

impl CommandNs for Command {
    fn net_ns(&mut self, ns: &NetNs) -> Result<&mut Self, Error> {
        let fd = OwnedFd::from(ns.try_clone()?);
        let work =
            move || enter(Kind::Network, fd.as_fd()).map_err(|(_, source)| io::Error::from(source));
        // SAFETY: `work` only makes system calls on memory and a descriptor it owns; it neither allocates nor locks.
        #[expect(unsafe_code, reason = "the child has to enter between fork and exec")]
        unsafe {
            self.pre_exec(work);
        }
        Ok(self)
    }

    fn mount_ns(&mut self, ns: &MountNs) -> Result<&mut Self, Error> {
        let fd = OwnedFd::from(ns.try_clone()?);
        let wanted = self.get_current_dir().map(std::path::absolute);
        let must_exist = wanted.is_some();
        // A directory without a name (deleted, or holding a NUL) cannot be walked to: the root it is.
        let directory = wanted
            .unwrap_or_else(std::env::current_dir)
            .ok()
            .and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
        let work = move || {
            enter(Kind::Mount, fd.as_fd()).map_err(|(_, source)| io::Error::from(source))?;
            match directory.as_deref().map(chdir) {
                Some(Err(source)) if must_exist => Err(source.into()),
                _ => Ok(()),
            }
        };
        // SAFETY: as above; `chdir` takes the C string as it is.
        #[expect(unsafe_code, reason = "the child has to enter between fork and exec")]
        unsafe {
            self.pre_exec(work);
        }
        Ok(self)
    }
}
