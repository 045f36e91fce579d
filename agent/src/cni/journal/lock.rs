//! One process at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A killed agent's lock may outlive it by a moment: a child that it was about to start has it until it runs its program.
const HANDOVER: Duration = Duration::from_secs(2);

/// The file, locked for as long as it is open; `None` if somebody else keeps it.
pub(super) fn take(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => return Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let (sender, locked) = channel();
    std::thread::Builder::new()
        .name("lock".into())
        .spawn(move || {
            let result = file.lock();
            // Nobody waits any more: the lock is given up with the file.
            drop(sender.send(result.map(|()| file)));
        })?;
    match locked.recv_timeout(HANDOVER) {
        Ok(result) => result.map(Some),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the waiting thread ended")),
    }
}
