//! Signs of life on a terminal: a line at its foot while something takes long, and the steps of a
//! command that has several.
//!
//! Where stderr is no terminal nothing of it is written, so that a file or another program gets log
//! lines alone.
//!
//! Invariant: a line of the log never stands in the middle of a sign of life. All that is
//! written to stderr while one may be shown goes through [`above`].

use super::table::printable;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A command that is done sooner says nothing meanwhile.
const AFTER: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_millis(250);

/// The foot of the terminal; hidden where stderr is none.
static FOOT: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Says that something is still going on, from the second second on, until it is dropped.
pub struct Busy {
    line: ProgressBar,
    /// Shows the line, unless its sender is gone before it is time.
    waiting: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Busy {
    pub fn with(what: impl Into<String>) -> Self {
        let line = ProgressBar::hidden().with_message(printable(&what.into()));
        line.set_style(
            ProgressStyle::with_template("{spinner} {elapsed:>3} {wide_msg}").expect("it is a template"),
        );
        Self { waiting: later(&line), line }
    }

    /// Says how far it is, in place of what was said before.
    pub fn say(&self, how_far: impl FnOnce() -> String) {
        if !self.line.is_hidden() {
            self.line.set_message(printable(&how_far()));
        }
    }
}

/// Shows the line when it is time.
fn later(line: &ProgressBar) -> Option<(Sender<()>, JoinHandle<()>)> {
    if FOOT.is_hidden() {
        return None;
    }
    let line = line.clone();
    let (sender, ended) = channel();
    let show = move || {
        if ended.recv_timeout(AFTER) == Err(RecvTimeoutError::Timeout) {
            FOOT.add(line).enable_steady_tick(EVERY);
        }
    };
    // A sign of life that cannot be shown is no reason to stop.
    let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(show).ok()?;
    Some((sender, thread))
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.waiting.take() {
            drop(sender);
            drop(thread.join());
            self.line.finish_and_clear();
            FOOT.remove(&self.line);
        }
    }
}

/// Writes to stderr while no sign of life is in the way.
pub fn above<T>(write: impl FnOnce() -> T) -> T {
    FOOT.suspend(write)
}

/// Says a line on stderr. Where that is closed nobody is left to be told, which is no reason to stop.
pub fn say(line: &str) {
    drop(above(|| writeln!(io::stderr(), "{line}")));
}

/// Says which steps are done, and how long each took.
pub struct Steps(Instant);

impl Steps {
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    pub fn done(&mut self, what: &str) {
        let took = self.0.elapsed();
        if !FOOT.is_hidden() {
            let (seconds, tenths) = (took.as_secs(), took.subsec_millis() / 100);
            say(&format!("{seconds:>3}.{tenths} s  {}", printable(what)));
        }
        self.0 = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_waited_for() {
        let begun = Instant::now();
        let busy = Busy::with("counting");
        busy.say(|| "one of two".to_owned());
        drop(busy);
        assert!(begun.elapsed() < AFTER);
    }
}
