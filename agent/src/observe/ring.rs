//! Waiting for a ring buffer of the data path.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Sleeps until the ring has something. An interrupted or failed wait only costs another look.
pub fn wait(ring: &RingBuf<MapData>) {
    let fd = ring.as_raw_fd();
    #[expect(unsafe_code, reason = "aya's ring offers a raw descriptor only")]
    // SAFETY: the ring owns the descriptor and outlives the borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    if let Err(error) = poll(&mut fds, PollTimeout::NONE) {
        tracing::debug!(%error, "waiting for events of the data path");
    }
}
