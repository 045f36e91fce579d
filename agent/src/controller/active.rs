//! At most one controller is active on a manifests directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use super::{ATTENTION, ControllerError};

/// Held while this controller is active. The kernel gives it up when the process dies, however that comes.
pub(super) struct Active {
    _lock: File,
}

/// Waits for the lock; `None` if `shutdown` came first.
pub(super) fn acquire(
    dir: &Path,
    shutdown: &Arc<AtomicBool>,
) -> Result<Option<Active>, ControllerError> {
    let path = dir.join(".controller.lock");
    let fail = |call, source| ControllerError::Lock {
        call,
        path: path.clone(),
        source,
    };
    let Some(file) = open(&path, shutdown).map_err(|e| fail("open", e))? else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(()) => return Ok(Some(Active { _lock: file })),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(fail("lock", error)),
    }
    tracing::info!(lock = %path.display(), "standby: another controller is active");
    // The wait in the kernel ends at once when the lock is free; the thread lets `shutdown` end it too.
    let (sender, locked) = channel();
    let wait = move || {
        let result = file.lock();
        // Nobody waits any more: the lock is given up with the file.
        drop(sender.send(result.map(|()| file)));
    };
    std::thread::Builder::new()
        .name("standby".into())
        .spawn(wait)
        .map_err(|e| fail("wait for", e))?;
    while !shutdown.load(Ordering::Relaxed) {
        match locked.recv_timeout(ATTENTION) {
            Ok(result) => {
                let lock = result.map_err(|e| fail("lock", e))?;
                return Ok(Some(Active { _lock: lock }));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let error = io::Error::other("the waiting thread ended");
                return Err(fail("lock", error));
            }
        }
    }
    Ok(None)
}

/// Opens the lock file as soon as there is a directory for it; `None` if `shutdown` came first.
fn open(path: &Path, shutdown: &AtomicBool) -> io::Result<Option<File>> {
    let mut told = false;
    while !shutdown.load(Ordering::Relaxed) {
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !told {
                    tracing::warn!(lock = %path.display(), "waiting for the manifests directory to be created");
                    told = true;
                }
                std::thread::sleep(ATTENTION);
            }
            opened => return opened.map(Some),
        }
    }
    Ok(None)
}
