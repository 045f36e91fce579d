//! Memory that was freed goes back to the system.

use std::time::Instant;

/// Hands back what is free. After a large file the allocator holds several hundred megabytes for the next one: glibc returns
/// only what lies at the end of an arena.
pub fn give_back() {
    let start = Instant::now();
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "nix has no malloc_trim")]
        // SAFETY: the call takes a number, and locks the allocator's own state.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
    tracing::debug!(took = ?start.elapsed(), "free memory is given back");
}
