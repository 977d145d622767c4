//! What others wrote is read behind a boundary: where a reader panics, that is told in the log and
//! becomes the refusal of what was read.
//!
//! Invariant: however many records a reader fails on, the log gets few lines of it; the ledger and
//! the metrics count them.

use schemas::boundary::guarded;
use schemas::rejection::{Reason, Rejection};
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads something; `reading` is the name of it in the log.
///
/// # Errors
/// The refusal, where the reader panicked.
pub fn read<T>(reading: &str, read: impl FnOnce() -> T) -> Result<T, Rejection> {
    guarded(read).map_err(|fault| {
        static FAILED: AtomicU64 = AtomicU64::new(0);
        let times = FAILED.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::error!(
                event = "reader.failed",
                times,
                place = fault.place,
                "a defect of this program: it failed while it read {reading}, which is refused for that"
            );
        }
        Rejection::new(Reason::ReaderFailed, fault.to_string())
    })
}
