//! Waiting until every program that runs now has ended.

use std::io;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Returns when every eBPF program that was at work at the call has ended: what it found before may be removed now.
///
/// Programs of tc run within one RCU read-side section, and `membarrier(2)` with `MEMBARRIER_CMD_GLOBAL` waits for a grace
/// period, some ten milliseconds.
pub fn wait_for_programs() -> io::Result<()> {
    #[expect(unsafe_code, reason = "nix has no membarrier")]
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Kernels booted with nohz_full refuse. Closing a packet socket waits for a grace period as well
        // (`packet_release` calls `synchronize_net`).
        error if error.raw_os_error() == Some(libc::EINVAL) => {
            let flags = SockFlag::SOCK_CLOEXEC;
            drop(socket(AddressFamily::Packet, SockType::Raw, flags, None)?);
            Ok(())
        }
        error => Err(error),
    }
}
