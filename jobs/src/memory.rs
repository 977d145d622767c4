//! glibc's allocator, told how ingest uses memory.
//!
//! It deliberately is no other allocator, and takes the place of no function of the C library:
//! those that were tried gained too little for programs of their own to trust.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(unsafe_code, reason = "only glibc itself knows how to be told")]

/// A batch needs as much memory as the one before it. By default glibc gives large pieces back to
/// the system at once and gets them anew, page by page, which costs ingest more than hashing does.
pub fn keep_freed() {
    // SAFETY: sets numbers, before there is another thread. A refusal leaves the default, which is
    // only slower.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}
