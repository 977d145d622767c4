//! The text of a file, as UTF-8, bit by bit: expanded and decoded as far as it is read.
//!
//! A byte order mark is skipped and says how the rest is encoded, whatever the mapping says. What
//! a record is, is deliberately not known here; whether UTF-8 is valid is asked by whoever takes
//! a record.
//!
//! Invariant: however far a file expands, what is held of it is what the caller has not taken.

use super::error::InvoiceError;
use flate2::read::MultiGzDecoder;
use schemas::invoice_mapping::Encoding;
use std::io::Read;

/// The most that a file may be, once it is expanded.
pub const MAX_EXPANDED: u64 = 4 << 30;
/// The longest record of a text; the widest reports have some kilobytes.
pub const MAX_RECORD: usize = 16 << 20;

const CHUNK: usize = 1 << 16;

pub struct Text<'a> {
    input: Box<dyn Read + 'a>,
    gzip: bool,
    encoding: Encoding,
    /// Whether the first bytes were looked at.
    begun: bool,
    big_endian: bool,
    /// Bytes that are not decoded yet: less than a character, once the text has begun.
    raw: Vec<u8>,
    decoded: Vec<u8>,
    taken: usize,
    ended: bool,
    read: u64,
    limit: u64,
}

/// The bytes of a file, expanded where it is compressed.
pub fn expanded<'a>(input: impl Read + 'a, gzip: bool) -> Box<dyn Read + 'a> {
    if gzip { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) }
}

/// Why bytes cannot be read or expanded.
pub fn not_read(error: &std::io::Error, gzip: bool) -> InvoiceError {
    InvoiceError::new(match gzip {
        true => format!("it cannot be expanded as gzip ({error}): it may have been cut short"),
        false => format!("it cannot be read: {error}"),
    })
}

/// Why no more of a file is expanded.
pub fn too_large(limit: u64) -> InvoiceError {
    InvoiceError::new(format!("it expands to more than {limit} bytes, which are read at most: split it"))
}

impl<'a> Text<'a> {
    pub fn new(input: impl Read + 'a, gzip: bool, encoding: Encoding) -> Self {
        Self {
            input: expanded(input, gzip),
            gzip,
            encoding,
            begun: false,
            big_endian: false,
            raw: Vec::new(),
            decoded: Vec::new(),
            taken: 0,
            ended: false,
            read: 0,
            limit: MAX_EXPANDED,
        }
    }

    /// What was read and not taken.
    pub fn pending(&self) -> &[u8] {
        &self.decoded[self.taken..]
    }

    /// Whether nothing comes after what is pending.
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Reads more, about as much as is pending already.
    ///
    /// # Errors
    /// Bytes that cannot be expanded or decoded, too many of them, and a record without an end.
    pub fn more(&mut self) -> Result<(), InvoiceError> {
        if self.pending().len() > MAX_RECORD {
            return Err(InvoiceError::new(format!(
                "a record of more than {MAX_RECORD} bytes: a quote may be missing, or the delimiter be another"
            )));
        }
        self.decoded.drain(..self.taken);
        self.taken = 0;
        let wanted = CHUNK.max(self.decoded.len());
        let before = self.raw.len();
        let most = u64::try_from(wanted).expect("a chunk is small");
        let added = self.input.by_ref().take(most).read_to_end(&mut self.raw);
        let added = added.map_err(|error| not_read(&error, self.gzip))?;
        debug_assert_eq!(before + added, self.raw.len(), "what is read is appended");
        self.ended = added < wanted;
        self.read += u64::try_from(added).expect("a chunk is small");
        if self.read > self.limit {
            return Err(too_large(self.limit));
        }
        if !self.begun {
            self.begin();
        }
        self.decode()
    }

    /// Looks at the first bytes. They are the first chunk, so a mark is in them as a whole.
    fn begin(&mut self) {
        self.begun = true;
        let (encoding, big_endian, mark) = match self.raw.as_slice() {
            [0xEF, 0xBB, 0xBF, ..] => (Encoding::Utf8, false, 3),
            [0xFE, 0xFF, ..] => (Encoding::Utf16, true, 2),
            [0xFF, 0xFE, ..] => (Encoding::Utf16, false, 2),
            // Without a mark the first character tells, as a header begins with a letter or a quote.
            [0, ..] => (self.encoding, true, 0),
            _ => (self.encoding, false, 0),
        };
        (self.encoding, self.big_endian) = (encoding, big_endian);
        self.raw.drain(..mark);
    }

    fn decode(&mut self) -> Result<(), InvoiceError> {
        match self.encoding {
            Encoding::Utf8 => self.decoded.append(&mut self.raw),
            Encoding::Latin1 => {
                let raw = std::mem::take(&mut self.raw);
                raw.iter().for_each(|byte| self.push(char::from(*byte)));
            }
            Encoding::Windows1252 => {
                for byte in std::mem::take(&mut self.raw) {
                    let character = windows_1252(byte).ok_or_else(|| {
                        InvoiceError::new(format!(
                            "the byte {byte:#04X} is no character of windows-1252: `encoding` may be another"
                        ))
                    })?;
                    self.push(character);
                }
            }
            Encoding::Utf16 => self.decode_utf16()?,
        }
        Ok(())
    }

    fn decode_utf16(&mut self) -> Result<(), InvoiceError> {
        let raw = std::mem::take(&mut self.raw);
        let broken = || InvoiceError::new("it is no UTF-16: half a character, so it may have been cut short");
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let units: Vec<u16> = raw.chunks_exact(2).map(unit).collect();
        // A pair of surrogates may be cut by the end of a chunk.
        let cut = !self.ended && units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit));
        let whole = units.len() - usize::from(cut);
        for character in char::decode_utf16(units[..whole].iter().copied()) {
            self.push(character.map_err(|_| broken())?);
        }
        self.raw.extend_from_slice(&raw[2 * whole..]);
        if self.ended && !self.raw.is_empty() { Err(broken()) } else { Ok(()) }
    }

    fn push(&mut self, character: char) {
        self.decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// The character of a byte in windows-1252; five bytes have none.
fn windows_1252(byte: u8) -> Option<char> {
    const FROM_80: [char; 32] = [
        '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’',
        '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
    ];
    let character = match byte {
        0x80..=0x9F => FROM_80[usize::from(byte - 0x80)],
        _ => return Some(char::from(byte)),
    };
    (character != '\0').then_some(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(mut text: Text<'_>) -> Result<String, String> {
        while !text.ended() {
            text.more().map_err(|error| error.problem)?;
        }
        Ok(String::from_utf8_lossy(text.pending()).into_owned())
    }

    #[track_caller]
    fn check(encoding: Encoding, bytes: &[u8], expected: &str) {
        assert_eq!(all(Text::new(bytes, false, encoding)).as_deref(), Ok(expected));
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn encodings_are_decoded_and_marks_skipped() {
        check(Encoding::Utf8, "\u{feff}Währung €".as_bytes(), "Währung €");
        check(Encoding::Utf8, "Währung €".as_bytes(), "Währung €");
        check(Encoding::Latin1, b"W\xe4hrung \x80", "Währung \u{80}");
        check(Encoding::Windows1252, b"W\xe4hrung \x80 \x9f", "Währung € Ÿ");
        check(Encoding::Utf16, &utf16("\u{feff}Währung 𝄞", u16::to_le_bytes), "Währung 𝄞");
        check(Encoding::Utf16, &utf16("\u{feff}Währung 𝄞", u16::to_be_bytes), "Währung 𝄞");
        check(Encoding::Utf16, &utf16("Währung", u16::to_le_bytes), "Währung");
        check(Encoding::Utf16, &utf16("Währung", u16::to_be_bytes), "Währung");
        // A mark knows better than a mapping.
        check(Encoding::Windows1252, "\u{feff}Währung".as_bytes(), "Währung");
        check(Encoding::Utf8, &utf16("\u{feff}Währung", u16::to_le_bytes), "Währung");
        check(Encoding::Utf16, b"", "");
    }

    #[test]
    fn characters_may_be_cut_by_chunks_and_not_by_the_end() {
        let long = format!("a{}", "𝄞".repeat(CHUNK));
        check(Encoding::Utf16, &utf16(&long, u16::to_be_bytes), &long);
        let bytes = utf16("ab𝄞", u16::to_le_bytes);
        for cut in [1, 2, 3] {
            let error = all(Text::new(&bytes[..bytes.len() - cut], false, Encoding::Utf16));
            assert!(error.expect_err("half a character").contains("UTF-16"), "{cut}");
        }
        let error = all(Text::new(&b"a\x81"[..], false, Encoding::Windows1252)).expect_err("no character");
        assert!(error.contains("0x81"), "{error}");
    }

    #[test]
    fn what_expands_too_far_or_ends_early_is_refused() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b'a'; 1 << 20]).expect("memory is written to");
        let bytes = encoder.finish().expect("memory is written to");
        assert_eq!(
            all(Text::new(bytes.as_slice(), true, Encoding::Utf8)).map(|text| text.len()),
            Ok(1 << 20)
        );
        let text = Text { limit: (1 << 20) - 1, ..Text::new(bytes.as_slice(), true, Encoding::Utf8) };
        assert!(all(text).expect_err("a byte too many").contains("expands to more than 1048575"));
        let cut = all(Text::new(&bytes[..bytes.len() / 2], true, Encoding::Utf8));
        assert!(cut.expect_err("half of it").contains("cut short"));
        assert!(all(Text::new(&b"plain"[..], true, Encoding::Utf8)).is_err());
    }
}
