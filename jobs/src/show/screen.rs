//! A terminal's whole screen, drawn again in place.
//!
//! Invariant: when it is dropped the terminal shows what it showed before, with its cursor.

use super::table::printable_lines;
use anyhow::{Context as _, bail};
use std::io::{self, IsTerminal as _, Write as _};

/// The alternate screen without a cursor, and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const TOP: &str = "\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// The screen of stdout.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// # Errors
    /// Where stdout is no terminal, and nothing is written to it then.
    pub fn open() -> anyhow::Result<Self> {
        if !io::stdout().is_terminal() {
            bail!(
                "stdout is no terminal, so nothing can be drawn in place; leave --watch out, and run the command again when it shall look again"
            );
        }
        let screen = Self(());
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws a text, as [`super::show`] prints one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(&mut self, text: &str) -> anyhow::Result<()> {
        let mut drawn = TOP.to_owned();
        for line in printable_lines(text).lines() {
            drawn.push_str(line);
            drawn.push_str(REST_OF_LINE);
            drawn.push_str("\r\n");
        }
        drawn.push_str(REST_OF_SCREEN);
        write(&drawn)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told.
        drop(write(LEAVE));
    }
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("writing to the terminal")
}
