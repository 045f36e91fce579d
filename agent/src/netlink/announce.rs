//! The kernel's announcements of changes, and waiting for one until the end.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use netlink_sys::Socket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

/// Room for announcements that nobody has taken yet: attaching a pod makes about ten, of up to 4 KiB each.
const BUFFER_BYTES: usize = 4 << 20;

/// A socket that receives the announcements of some multicast groups.
pub struct Announcements {
    socket: Socket,
}

impl Announcements {
    /// Subscribes, in the calling thread's network namespace.
    pub fn subscribe(protocol: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        socket.set_non_blocking(true)?;
        // A limit, not memory in use. Without the privilege the usual one must do: an overrun is noticed.
        if let Err(error) = setsockopt(&socket, RcvBufForce, &BUFFER_BYTES) {
            tracing::debug!(%error, "set the receive buffer of announcements");
        }
        Ok(Self { socket })
    }

    /// Takes all that has arrived, without waiting. An overrun of the buffer is told as an empty message: something
    /// happened, nobody knows what.
    pub fn drain(&self, mut each: impl FnMut(&[u8])) {
        let mut buffer = Vec::with_capacity(64 * 1024);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => each(&buffer),
                Err(e) if e.raw_os_error() == Some(nix::libc::ENOBUFS) => each(&[]),
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Announcements {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The end of a watching thread, as the thread sees it.
pub struct End(PipeReader);

impl End {
    /// Waits for an announcement, the end, or the timeout; whether it was the end.
    pub fn wait(&self, announcements: Option<&Announcements>, timeout: Duration) -> bool {
        self.wait_any(announcements.map(AsFd::as_fd).as_slice(), timeout)
    }

    /// The same with several descriptors that may have something to read.
    pub fn wait_any(&self, sources: &[BorrowedFd<'_>], timeout: Duration) -> bool {
        let mut fds = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(sources.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        if let Err(error) = poll(&mut fds, timeout) {
            tracing::debug!(%error, "waiting for announcements of the kernel");
        }
        fds[0].any().unwrap_or(false)
    }
}

/// A watching thread; dropped, it ends the thread and waits for it.
pub struct Watch {
    thread: Option<JoinHandle<()>>,
    /// Closed, it wakes the thread for the last time.
    alive: Option<PipeWriter>,
}

impl Watch {
    /// Starts the thread, in the calling thread's network namespace.
    pub fn start(name: &str, work: impl FnOnce(End) + Send + 'static) -> io::Result<Self> {
        let (end, alive) = io::pipe()?;
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || work(End(end)))?;
        Ok(Self {
            thread: Some(thread),
            alive: Some(alive),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(name, "a watching thread had panicked");
            }
        }
    }
}
