//! Signs of life on stderr while something takes long.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Says on stderr that something is still going on, from the second second on, until it is dropped.
pub struct Busy {
    stop: Arc<AtomicBool>,
    terminal: bool,
}

impl Busy {
    pub fn with(what: impl Into<String>) -> Self {
        let (what, stop, terminal) =
            (what.into(), Arc::new(AtomicBool::new(false)), std::io::stderr().is_terminal());
        let (stopped, begun) = (stop.clone(), Instant::now());
        std::thread::spawn(move || {
            let every = if terminal { Duration::from_secs(1) } else { Duration::from_secs(10) };
            let mut next = Duration::from_secs(2);
            loop {
                std::thread::sleep(Duration::from_millis(100));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if begun.elapsed() < next {
                    continue;
                }
                next += every;
                let line = format!("{what}, {} s", begun.elapsed().as_secs());
                // A progress line that cannot be shown is no reason to stop.
                let _ = if terminal {
                    write!(std::io::stderr(), "\r\x1b[K{line}")
                } else {
                    writeln!(std::io::stderr(), "{line}")
                };
            }
        });
        Self { stop, terminal }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
