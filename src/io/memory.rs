//! Memory that has been freed, kept for what comes next.
#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "the C library is told how to keep memory"))]

/// Has the allocator keep what is freed instead of giving it back to the system at once: columns of a batch are large, come
/// and go with it, and would be given new pages, each to be cleared, every time. Before any thread is started.
///
/// Nothing is done where the C library is another than GNU's.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (option, bytes) in [(libc::M_MMAP_THRESHOLD, 32 << 20), (libc::M_TRIM_THRESHOLD, 64 << 20)] {
        // SAFETY: both options take any number of bytes; a refusal leaves things as they are.
        let _ = unsafe { libc::mallopt(option, bytes) };
    }
}
