//! The boundary between bytes that others wrote and the code that reads them.
//!
//! A library's reader may panic on bytes that its authors did not think of. Behind the boundary
//! that is a value like any other, so that it costs what was read and not the process. It is no way
//! to report anything else: code of ours returns an error.
//!
//! Invariant: outside of it, a panic is reported as it is anywhere.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// A panic behind the boundary. Its own words are not kept: they may quote what was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this program failed at {place} while it read this, a defect of the program: report it with the bytes"
)]
pub struct Fault {
    /// File, line and column of the source.
    pub place: String,
}

thread_local! {
    /// How many boundaries this thread is inside.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
    static LAST: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// Reads something. Whatever `read` was changing when it panicked may be half changed, and is best
/// thrown away.
///
/// ```
/// # use schemas::boundary::guarded;
/// assert_eq!(guarded(|| 7), Ok(7));
/// assert!(guarded(|| -> u8 { panic!("no such byte") }).is_err());
/// ```
///
/// # Errors
/// Where it panicked.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, Fault> {
    static HOOK: Once = Once::new();
    HOOK.call_once(remember_instead_of_printing);
    INSIDE.set(INSIDE.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(INSIDE.get() - 1);
    result.map_err(|_| LAST.take().unwrap_or_else(|| Fault { place: "an unknown place".to_owned() }))
}

/// A panic's report may hold anything that was read, and is not a line of the log.
fn remember_instead_of_printing() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        if INSIDE.get() == 0 {
            return before(panicked);
        }
        LAST.set(panicked.location().map(|location| Fault { place: location.to_string() }));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value_that_says_where() {
        for _ in 0..3 {
            let fault = guarded(|| "grün"[..3].len()).expect_err("half a character");
            assert!(fault.place.contains("boundary.rs:"), "{fault:?}");
            assert!(!fault.to_string().contains("grün"), "{fault}");
        }
    }

    #[test]
    fn a_boundary_inside_another_is_its_own() {
        let outer = guarded(|| {
            assert!(guarded(|| -> u8 { panic!("inner") }).is_err());
            7
        });
        assert_eq!(outer, Ok(7));
        assert!(guarded(|| -> u8 { panic!("after it") }).is_err());
    }
}
