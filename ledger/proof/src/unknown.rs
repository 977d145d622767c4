//! Whose a log entry is that is not one of this version's: a newer atcost's, or another program's.
//!
//! It only names them. Whether an entry is right is for [`crate::record`] to say, which is asked
//! first.
//!
//! Invariant: an entry of a format in [`FORMATS`] is never called anybody else's, however damaged.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::fmt;

/// The formats that this version reads, by the first bytes of a record and of a table's creation.
const FORMATS: &[&str] = &["rec1", "rec2", "rec3", "cre1"];
/// Delta's actions beside `commitInfo`.
const ACTIONS: &[&str] = &["add", "remove", "txn", "metaData", "protocol", "domainMetadata", "cdc"];
/// What `engineInfo` begins with in every format of ours. From `rec3` on a slash follows, and the
/// first version that reads the format.
const ENGINE: &str = "atcost";

/// The writer of an entry that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// An atcost that writes a format of later. It says from which version on that is read.
    Newer { format: String, needs: String },
    /// Something else that writes Delta tables, by what it says of itself.
    Program { engine: Option<String>, operation: Option<String> },
}

impl Unknown {
    /// Nothing where the entry may be ours and damaged.
    pub fn of(entry: &[u8]) -> Option<Self> {
        let lines = entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let actions: Vec<Option<Map<String, Value>>> =
            lines.map(|line| serde_json::from_slice(line).ok()).collect();
        let info = actions.iter().flatten().find_map(|action| action.get("commitInfo")?.as_object());
        let Some(info) = info else {
            let is_action = |action: &Option<Map<String, Value>>| {
                action.as_ref().is_some_and(|action| ACTIONS.iter().any(|name| action.contains_key(*name)))
            };
            return (!actions.is_empty() && actions.iter().all(is_action))
                .then_some(Self::Program { engine: None, operation: None });
        };
        let engine = info.get("engineInfo").and_then(Value::as_str);
        let format = ["record", "creation"].iter().find_map(|name| {
            let bytes = BASE64_STANDARD.decode(info.get(*name)?.as_str()?).ok()?;
            Some(bytes.iter().take(4).map(|byte| char::from(*byte)).collect::<String>())
        });
        if format.as_deref().is_some_and(|format| FORMATS.contains(&format)) {
            return None;
        }
        match engine.and_then(|engine| engine.strip_prefix(ENGINE)) {
            Some("") => None,
            Some(rest) if rest.starts_with('/') => Some(Self::Newer {
                format: plain(format.as_deref().unwrap_or("of no name")),
                needs: plain(&rest[1..]),
            }),
            _ => Some(Self::Program {
                engine: engine.map(plain),
                operation: info.get("operation").and_then(Value::as_str).map(plain),
            }),
        }
    }

    /// Whether the beginning of an entry can be ours, as far as it is there: up to its end, or to
    /// where zeros stand in it.
    pub fn may_be_ours(entry: &[u8]) -> bool {
        let written = entry.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut rest = written;
        let literal = |rest: &mut &[u8], literal: &str| {
            let length = literal.len().min(rest.len());
            let (begins, after) = rest.split_at(length);
            *rest = after;
            literal.as_bytes().starts_with(begins)
        };
        let some = |rest: &mut &[u8], is: fn(&u8) -> bool| {
            let length = rest.iter().take_while(|byte| is(byte)).count();
            *rest = &rest[length..];
        };
        if !literal(&mut rest, r#"{"commitInfo":{"timestamp":"#) {
            return false;
        }
        some(&mut rest, |byte| byte.is_ascii_digit() || *byte == b'-');
        if !literal(&mut rest, r#","operation":""#) {
            return false;
        }
        some(&mut rest, u8::is_ascii_uppercase);
        literal(&mut rest, r#"","operationParameters":{"mode":"Append"},"engineInfo":""#)
            && literal(&mut rest, ENGINE)
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { format, needs } => {
                write!(formatter, "it is in the format {format}, which atcost reads from version {needs} on")
            }
            Self::Program { engine, operation } => {
                formatter.write_str("it was not written by atcost but by another program, ")?;
                match engine {
                    Some(engine) => write!(formatter, "{engine:?}")?,
                    None => formatter.write_str("which does not say its name")?,
                }
                match operation {
                    Some(operation) => write!(formatter, " (its operation is {operation:?})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A text of an entry that anybody may have written, for a sentence.
fn plain(text: &str) -> String {
    text.chars().filter(|character| character.is_ascii_graphic() || *character == ' ').take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(engine: &str, more: &str) -> String {
        format!(
            r#"{{"commitInfo":{{"timestamp":1764,"operation":"WRITE","operationParameters":{{"mode":"Append"}},"engineInfo":"{engine}"{more}}}}}"#
        )
    }

    fn said(entry: &str) -> Option<String> {
        Unknown::of(entry.as_bytes()).map(|unknown| unknown.to_string())
    }

    #[test]
    fn another_program_is_named_by_what_it_says_of_itself() {
        for add in ["", "\n{\"add\":{\"path\":\"part-0.parquet\"}}", "\n{\"add\":{}}\n"] {
            assert_eq!(
                said(&(line("delta-rs:py-1.2.0", "") + add)).as_deref(),
                Some(
                    r#"it was not written by atcost but by another program, "delta-rs:py-1.2.0" (its operation is "WRITE")"#
                )
            );
        }
        assert_eq!(
            said("{\"txn\":{\"appId\":\"a\",\"version\":9}}").as_deref(),
            Some("it was not written by atcost but by another program, which does not say its name")
        );
        for nobodys in ["", "{\"tx", "\0\0", "[]", "{}", &line("atcost", ""), "{\"commitInfo\":7}"] {
            assert_eq!(said(nobodys), None, "{nobodys}");
        }
    }

    #[test]
    fn a_newer_format_says_which_version_reads_it() {
        let record = |bytes: &[u8]| format!(r#","record":"{}""#, BASE64_STANDARD.encode(bytes));
        assert_eq!(
            said(&line("atcost/0.4.0", &record(b"rec7 and more"))).as_deref(),
            Some("it is in the format rec7, which atcost reads from version 0.4.0 on")
        );
        // A bit that flipped announces nothing, and what is ours stays ours.
        assert_eq!(said(&line("atcost", &record(b"rec7"))), None);
        assert_eq!(said(&line("someone", &record(b"rec1"))), None);
    }

    #[test]
    fn only_what_begins_like_ours_can_be_a_torn_entry_of_ours() {
        let ours = line("atcost", r#","record":"cmVjMQ==""#);
        for end in 0..ours.len() {
            assert!(Unknown::may_be_ours(&ours.as_bytes()[..end]), "{end}");
            let zeros = [&ours.as_bytes()[..end], &[0; 9]].concat();
            assert!(Unknown::may_be_ours(&zeros), "{end}");
        }
        for other in [line("delta-rs:1", ""), "{\"add\":{}}".to_owned(), "{\"protocol\":".to_owned()] {
            assert!(!Unknown::may_be_ours(other.as_bytes()), "{other}");
        }
    }
}
