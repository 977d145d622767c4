//! The only wall clock of the program.

use schemas::time::Instant;

/// Now, to the microsecond.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
pub fn now() -> Instant {
    Instant::floor(jiff::Timestamp::now())
}
