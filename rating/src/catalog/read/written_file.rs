//! How the file of an invoice is written: `[file]` of invoice.toml.
//!
//! No file is read here.
//!
//! Invariant: a pattern of dates that is kept reads back the date that it writes.

use super::format::WRITTEN_KEYS;
use super::toml::Table;
use crate::words::{either, words};
use jiff::civil::date;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use schemas::invoice_mapping::{DateFormat, Encoding, FileFormat, LineEnd};

/// What a file says of it; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct WrittenFile {
    encoding: Option<Encoding>,
    delimiter: Option<char>,
    /// `Some(None)` where it is said that there is none.
    header: Option<Option<Box<str>>>,
    pub decimal: Option<char>,
    /// `Some(None)` where it is said that there is none.
    pub thousands: Option<Option<char>>,
    date: Option<DateFormat>,
    pub end: Option<LineEnd>,
    dates_in_utc: Option<bool>,
}

words! {
    enum EncodingWord {
        Utf8 = "utf-8",
        Utf16 = "utf-16",
        Latin1 = "latin-1",
        Windows1252 = "windows-1252",
    }
}

words! {
    enum EndWord {
        Exclusive = "exclusive",
        Inclusive = "inclusive",
        Day = "day",
    }
}

words! {
    enum DatesWord {
        Utc = "utc",
        Provider = "provider",
    }
}

impl WrittenFile {
    pub fn read(table: &Table<'_>) -> Self {
        table.only(WRITTEN_KEYS.keys);
        let encoding = optional(table, "encoding", "an encoding", |text| {
            let word = EncodingWord::parse(text)
                .ok_or_else(|| one_of(EncodingWord::ALL.map(EncodingWord::as_str)))?;
            Ok(match word {
                EncodingWord::Utf8 => Encoding::Utf8,
                EncodingWord::Utf16 => Encoding::Utf16,
                EncodingWord::Latin1 => Encoding::Latin1,
                EncodingWord::Windows1252 => Encoding::Windows1252,
            })
        });
        let end = optional(table, "end", "an end", |text| {
            let word = EndWord::parse(text).ok_or_else(|| one_of(EndWord::ALL.map(EndWord::as_str)))?;
            Ok(match word {
                EndWord::Exclusive => LineEnd::Exclusive,
                EndWord::Inclusive => LineEnd::Inclusive,
                EndWord::Day => LineEnd::Day,
            })
        });
        let dates_in_utc = optional(table, "dates", "a zone of dates", |text| {
            let word = DatesWord::parse(text).ok_or_else(|| one_of(DatesWord::ALL.map(DatesWord::as_str)))?;
            Ok(word == DatesWord::Utc)
        });
        Self {
            encoding,
            delimiter: optional(table, "delimiter", "a delimiter", delimiter),
            header: optional(table, "header", "a column", |text| match text.trim() {
                "" if !text.is_empty() => Err("it is blank".to_owned()),
                "" => Ok(None),
                name => Ok(Some(name.into())),
            }),
            // One with a problem is no second problem beside a mark between thousands.
            decimal: optional(table, "decimal", "a decimal mark", mark)
                .or_else(|| table.has("decimal").then_some('\0')),
            thousands: optional(table, "thousands", "a mark between thousands", |text| match text {
                "" => Ok(None),
                _ => mark(text).map(Some),
            }),
            date: optional(table, "date", "a way to write dates", date_format),
            end,
            dates_in_utc,
        }
    }

    /// What this says and, where it says nothing, what `base` says.
    pub fn over(self, base: Self) -> Self {
        Self {
            encoding: self.encoding.or(base.encoding),
            delimiter: self.delimiter.or(base.delimiter),
            header: self.header.or(base.header),
            decimal: self.decimal.or(base.decimal),
            thousands: self.thousands.or(base.thousands),
            date: self.date.or(base.date),
            end: self.end.or(base.end),
            dates_in_utc: self.dates_in_utc.or(base.dates_in_utc),
        }
    }

    pub fn format(self) -> FileFormat {
        FileFormat {
            encoding: self.encoding.unwrap_or(Encoding::Utf8),
            delimiter: self.delimiter.unwrap_or(','),
            header: self.header.flatten(),
            decimal: self.decimal.unwrap_or('.'),
            thousands: self.thousands.flatten(),
            date: self.date.unwrap_or(DateFormat::Iso),
            end: self.end.unwrap_or(LineEnd::Exclusive),
            dates_in_utc: self.dates_in_utc.unwrap_or(false),
        }
    }
}

#[track_caller]
fn optional<T>(
    table: &Table<'_>,
    key: &str,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    if table.has(key) { table.parsed(key, what, parse) } else { None }
}

fn one_of<const N: usize>(words: [&str; N]) -> String {
    format!("it must be {}", either(words))
}

/// The only character of a text.
fn only(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn delimiter(text: &str) -> Result<char, String> {
    only(text)
        .filter(|mark| mark.is_ascii() && !mark.is_ascii_alphanumeric() && !"\"\r\n".contains(*mark))
        .ok_or_else(|| "it must be one sign of ASCII that is no quotation mark, like `;` or `\\t`".to_owned())
}

/// A mark within a number.
fn mark(text: &str) -> Result<char, String> {
    only(text)
        .filter(|mark| !mark.is_alphanumeric() && !"+-\"\r\n".contains(*mark))
        .ok_or_else(|| "it must be one character that is neither a sign, a letter nor a digit".to_owned())
}

fn date_format(text: &str) -> Result<DateFormat, String> {
    if text == "iso" {
        return Ok(DateFormat::Iso);
    }
    let (pattern, or_iso) = text.strip_suffix(" or iso").map_or((text, false), |pattern| (pattern, true));
    if !pattern.contains('%') {
        return Err("it must be `iso`, a pattern of strptime, or a pattern and ` or iso`".to_owned());
    }
    check_pattern(pattern)?;
    Ok(if or_iso { DateFormat::PatternOrIso(pattern.into()) } else { DateFormat::Pattern(pattern.into()) })
}

/// A pattern writes a date, and must read the same date again: one without a year, say, would not.
fn check_pattern(pattern: &str) -> Result<(), String> {
    for day in [date(2025, 10, 31), date(2024, 2, 9)] {
        let written = day.at(13, 45, 56, 0).to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
        let text = strtime::format(pattern, &written).map_err(|error| error.to_string())?;
        let read = strtime::BrokenDownTime::parse(pattern, &text).map_err(|error| error.to_string())?;
        let read = match read.to_timestamp() {
            Ok(instant) => instant.to_zoned(TimeZone::UTC).date(),
            Err(_) => read.to_date().map_err(|error| error.to_string())?,
        };
        if read != day {
            return Err(format!("it writes {day} as {text:?} and reads that as {read}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_back_what_it_writes() {
        for pattern in
            ["%d.%m.%Y", "%Y%m%d", "%m/%d/%Y %H:%M:%S", "%d-%b-%y", "%Y-%m-%dT%H:%M:%S%z", "%s", "%Y-%j"]
        {
            assert_eq!(date_format(pattern), Ok(DateFormat::Pattern(pattern.into())), "{pattern}");
        }
        assert_eq!(date_format("%m/%d/%Y or iso"), Ok(DateFormat::PatternOrIso("%m/%d/%Y".into())));
        for pattern in
            ["%m/%Y", "%d.%m", "%Q", "%", "", "dd.mm.yyyy", "%H:%M", "%d.%m.%Y %Z", "iso or iso", " or iso"]
        {
            assert!(date_format(pattern).is_err(), "{pattern}");
        }
        assert_eq!(date_format("iso"), Ok(DateFormat::Iso));
    }

    #[test]
    fn marks_are_one_character() {
        for fine in [".", ",", " ", "'", "\u{2019}", "\u{a0}", "\u{202f}"] {
            assert!(mark(fine).is_ok(), "{fine:?}");
        }
        for wrong in ["", "..", "-", "+", "0", "e", "\n"] {
            assert!(mark(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!((delimiter("\t"), delimiter("|")), (Ok('\t'), Ok('|')));
        for wrong in ["", ";;", "\"", "\n", "a", "\u{a6}"] {
            assert!(delimiter(wrong).is_err(), "{wrong:?}");
        }
    }
}
