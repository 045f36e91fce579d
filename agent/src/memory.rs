//! Memory that was freed goes back to the kernel.
//!
//! A start reads the object, the maps and every manifest; a large file takes hundreds of megabytes for a moment. All of that is freed
//! at once, but the C library keeps freed memory below anything that is still in use, in an arena for each thread.

use std::time::Instant;

/// Gives freed memory of all threads back. Other C libraries than glibc have their own ways.
pub fn give_back() {
    let start = Instant::now();
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "nix has no wrapper for malloc_trim(3)")]
        // SAFETY: the call takes a number and locks each arena for itself; any thread may make it at any time.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
    tracing::debug!(took = ?start.elapsed(), "free memory is given back");
}
