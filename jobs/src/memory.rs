//! What glibc's allocator does badly for ingest, done otherwise.
//!
//! It deliberately is no other allocator: those tried gained nothing, and each is a program of its
//! own to trust.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(unsafe_code, reason = "only glibc itself knows how to be told")]

use std::ffi::c_void;

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

unsafe extern "C" {
    /// What glibc calls `calloc`.
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
}

/// The largest piece that glibc keeps for the thread that freed it.
const KEPT_BY_THREAD: usize = 1032;

/// Stands in for glibc's, which before 2.41 never takes a piece that the thread itself has just
/// freed, as its `malloc` does. librdkafka asks for such a piece for every message whose headers
/// are read, even where it has none.
///
/// Compilers make `calloc` of `malloc` and zeros, but not in a function of this very name, so it
/// must be one.
// SAFETY: in place of the C library's function it keeps that function's contract: zeroed memory
// that `free` takes back, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) if bytes <= KEPT_BY_THREAD => {
            // SAFETY: what is written to are the bytes that were just allocated.
            unsafe {
                let piece = libc::malloc(bytes);
                if !piece.is_null() {
                    piece.cast::<u8>().write_bytes(0, bytes);
                }
                piece
            }
        }
        // SAFETY: the caller's arguments.
        _ => unsafe { __libc_calloc(count, size) },
    }
}
