//! Records out of text: the lines of NDJSON, and the values of a JSON file.
//!
//! These only find where a record begins and ends; what it says is decoded later, strictly. Both
//! hold at most one record in memory, and of one that is too large only its beginning.
//!
//! A byte order mark at the beginning of a file belongs to the file and not to its first record; it
//! is stepped over. Anywhere else it is a byte like any other.

use super::record::{Content, Item, Records};
use crate::decode::{KEPT_BYTES, MAX_RECORD_BYTES, too_large};
use schemas::digest::Sha256Digest;
use schemas::rejection::Reason;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read as _};

/// A record's bytes while they are found. Those beyond the limit are only counted and
/// digested.
#[derive(Default)]
struct Collected {
    kept: Vec<u8>,
    beyond: Option<(usize, Sha256)>,
}

impl Collected {
    fn push(&mut self, bytes: &[u8]) {
        if let Some((size, digest)) = &mut self.beyond {
            *size += bytes.len();
            digest.update(bytes);
        } else if self.kept.len() + bytes.len() <= MAX_RECORD_BYTES + 1 {
            self.kept.extend_from_slice(bytes);
        } else {
            let digest = Sha256::new().chain_update(&self.kept).chain_update(bytes);
            self.beyond = Some((self.kept.len() + bytes.len(), digest));
            self.kept.truncate(KEPT_BYTES);
        }
    }

    fn is_blank(&self) -> bool {
        self.beyond.is_none() && self.kept.iter().all(|byte| is_blank(*byte))
    }

    fn into_item(self, offset: i64) -> Item {
        match self.beyond {
            None => Item::record(offset, self.kept, Content::Json),
            Some((size, digest)) => {
                let digest = Sha256Digest::from_bytes(digest.finalize().into());
                Item::record(offset, self.kept, Content::Refused(too_large(size, &digest.to_string())))
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn unreadable(offset: i64, collected: Collected, error: &io::Error) -> Item {
    Item::broken(
        offset,
        collected.kept,
        Reason::EncodingUnknown,
        format!("the rest of the file cannot be decompressed: {error}"),
    )
}

/// A text without the mark that it may begin with, and whether it did.
pub struct Begun {
    pub bytes: Box<dyn BufRead + Send>,
    pub marked: bool,
}

/// Steps over a byte order mark.
///
/// # Errors
/// The only record of a file whose beginning cannot be read, or is not UTF-8.
pub fn begin(mut bytes: Box<dyn BufRead + Send>) -> Result<Begun, Item> {
    let mut first = Vec::new();
    if let Err(error) = (&mut bytes).take(3).read_to_end(&mut first) {
        return Err(unreadable(0, Collected { kept: first, beyond: None }, &error));
    }
    match first.as_slice() {
        [0xEF, 0xBB, 0xBF] => return Ok(Begun { bytes, marked: true }),
        // Marks of UTF-16 and UTF-32, and what either begins with where it has none: a text of
        // JSON begins with ASCII.
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0x09..=0x7D, 0, ..] | [0, 0x09..=0x7D, ..] => {
            // As much as is kept; that the rest cannot be read is no news.
            drop((&mut bytes).take(KEPT_BYTES as u64).read_to_end(&mut first));
            let detail = "the file is UTF-16 or UTF-32, and UTF-8 is read; convert it. None of it was read";
            return Err(Item::broken(0, first, Reason::Utf8Invalid, detail.to_owned()));
        }
        _ => {}
    }
    Ok(Begun { bytes: Box::new(io::Cursor::new(first).chain(bytes)), marked: false })
}

/// NDJSON. The offset is the number of the line, from 0; blank lines count but are no records.
pub struct Lines {
    bytes: Box<dyn BufRead + Send>,
    line: i64,
    over: bool,
}

impl Lines {
    pub fn new(bytes: Box<dyn BufRead + Send>) -> Self {
        Self { bytes, line: 0, over: false }
    }

    /// The bytes up to the next line feed, and whether there was one.
    fn line(&mut self, collected: &mut Collected) -> io::Result<bool> {
        loop {
            let buffer = match self.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(false);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(buffer.len());
            collected.push(&buffer[..taken]);
            self.bytes.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

impl Records for Lines {
    fn next(&mut self) -> Option<Item> {
        while !self.over {
            let offset = self.line;
            let mut collected = Collected::default();
            match self.line(&mut collected) {
                Ok(more) => {
                    self.over = !more;
                    self.line += 1;
                }
                Err(error) => {
                    self.over = true;
                    return Some(unreadable(offset, collected, &error));
                }
            }
            if collected.is_blank() {
                continue;
            }
            if collected.beyond.is_none() && collected.kept.last() == Some(&b'\r') {
                collected.kept.pop();
            }
            return Some(collected.into_item(offset));
        }
        None
    }
}

/// A JSON file: one value, several, or arrays of values (a CloudEvents batch). The offset counts
/// the values from 0.
pub struct Values {
    bytes: Box<dyn BufRead + Send>,
    index: i64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between values at the top.
    Top,
    /// After `[`: a value or `]`.
    ArrayBegun,
    /// After a comma: a value.
    AfterComma,
    /// After a value of an array: a comma or `]`.
    AfterValue,
    Over,
}

impl Values {
    pub fn new(bytes: Box<dyn BufRead + Send>) -> Self {
        Self { bytes, index: 0, state: State::Top }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.bytes.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next byte that is not blank, not yet consumed.
    fn peek_mark(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !is_blank(byte) {
                return Ok(Some(byte));
            }
            self.bytes.consume(1);
        }
        Ok(None)
    }

    /// Finds the end of the value that begins here: of an object, array or string by its brackets
    /// and quotes, else at the next mark or blank.
    fn value(&mut self, collected: &mut Collected) -> io::Result<()> {
        let mut depth = 0usize;
        let mut in_string = false;
        let mut escaped = false;
        let mut first = true;
        while self.peek()?.is_some() {
            let buffer = self.bytes.fill_buf()?;
            let mut taken = 0;
            let mut done = false;
            for byte in buffer {
                if in_string {
                    in_string = escaped || *byte != b'"';
                    escaped = !escaped && *byte == b'\\';
                    done = !in_string && depth == 0;
                } else {
                    match byte {
                        b'"' => in_string = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' if depth > 0 => {
                            depth -= 1;
                            done = depth == 0;
                        }
                        b'}' | b']' | b',' if depth == 0 && !first => {
                            collected.push(&buffer[..taken]);
                            self.bytes.consume(taken);
                            return Ok(());
                        }
                        byte if depth == 0 && is_blank(*byte) => {
                            collected.push(&buffer[..taken]);
                            self.bytes.consume(taken);
                            return Ok(());
                        }
                        _ => {}
                    }
                }
                first = false;
                taken += 1;
                if done {
                    break;
                }
            }
            collected.push(&buffer[..taken]);
            self.bytes.consume(taken);
            if done {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The rest of a file that goes on with something that cannot be there.
    fn broken(&mut self, detail: &str) -> io::Result<Item> {
        let mut rest = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(&mut self.bytes, KEPT_BYTES as u64), &mut rest)?;
        self.state = State::Over;
        Ok(Item::broken(
            self.index,
            rest,
            Reason::JsonInvalid,
            format!("{detail}; the rest of the file is not read"),
        ))
    }

    fn step(&mut self, collected: &mut Collected) -> io::Result<Option<Item>> {
        // A reader that failed once is not asked again: it would fail for ever.
        while self.state != State::Over {
            match (self.state, self.peek_mark()?) {
                (State::Top, None) => self.state = State::Over,
                (_, None) => return self.broken("the file ends inside its array").map(Some),
                (State::Top, Some(b'[')) => {
                    self.bytes.consume(1);
                    self.state = State::ArrayBegun;
                }
                (State::ArrayBegun | State::AfterValue, Some(b']')) => {
                    self.bytes.consume(1);
                    self.state = State::Top;
                }
                (State::AfterValue, Some(b',')) => {
                    self.bytes.consume(1);
                    self.state = State::AfterComma;
                }
                (
                    State::Top | State::ArrayBegun | State::AfterComma,
                    Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'),
                ) => {
                    self.value(collected)?;
                    if self.state != State::Top {
                        self.state = State::AfterValue;
                    }
                    let item = std::mem::take(collected).into_item(self.index);
                    self.index += 1;
                    return Ok(Some(item));
                }
                (State::AfterValue, Some(_)) => {
                    return self.broken("neither a comma nor the end of the array follows a value").map(Some);
                }
                (_, Some(_)) => return self.broken("no JSON value begins where one should").map(Some),
            }
        }
        Ok(None)
    }
}

impl Records for Values {
    fn next(&mut self) -> Option<Item> {
        let mut collected = Collected::default();
        match self.step(&mut collected) {
            Ok(item) => item,
            Err(error) => {
                self.state = State::Over;
                Some(unreadable(self.index, collected, &error))
            }
        }
    }
}
