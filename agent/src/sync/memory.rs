//! Memory that a pass needed for a moment goes back to the kernel.
//!
//! A start reads the object, the maps and every manifest; what that takes is freed at once, but the C library keeps freed
//! memory below anything that is still in use, in an arena for each thread: four fifths of the heap at 250 pods.

/// Gives freed memory of all threads back.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    #[expect(unsafe_code, reason = "nix has no wrapper for malloc_trim(3)")]
    // SAFETY: the call takes a number and locks each arena for itself; any thread may make it at any time.
    let given = unsafe { nix::libc::malloc_trim(0) };
    tracing::debug!(given, "malloc_trim");
}

/// Other C libraries have their own ways.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
