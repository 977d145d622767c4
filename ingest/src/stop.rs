//! How everything that waits or loops is asked to come to a clean end.
//!
//! It interrupts nothing: whoever blocks looks at it often enough, every [`PATIENCE`] at least.
//!
//! Invariant: once a stop was asked for it stays asked for.

use crate::IngestError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest time a source may block without looking at [`Stop`].
pub const PATIENCE: Duration = Duration::from_millis(200);

/// Asks everything that waits or loops to come to a clean end. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps in slices of [`PATIENCE`].
    ///
    /// # Errors
    /// [`IngestError::Stopped`] as soon as a stop is asked for.
    pub fn sleep(&self, duration: Duration) -> Result<(), IngestError> {
        let mut left = duration;
        while !self.is_requested() {
            if left.is_zero() {
                return Ok(());
            }
            let slice = left.min(PATIENCE);
            std::thread::sleep(slice);
            left -= slice;
        }
        Err(IngestError::Stopped)
    }
}
