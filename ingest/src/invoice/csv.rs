//! Records of a CSV file (RFC 4180), with any delimiter.
//!
//! A reader of our own, because a record is needed byte for byte as it was written, and because
//! nothing may be guessed: a quote that does not end, or text after one that does, is refused.
//!
//! Invariant: all records have equally many fields, and no more than the header.

use super::error::{InvoiceError, quoted};
use super::headers::{MAX_COLUMNS, Slot, Wanted, plain};
use super::record::{Each, Fingerprint, Kind, MAX_CELL, Record};
use super::text::Text;
use std::str;

/// The most records above a header.
const MAX_ABOVE: usize = 100;

/// What a file's records were like.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub records: u64,
    /// Fields of the header, and of every record where these are fewer.
    pub fields_missing: Option<(usize, usize)>,
    /// For each wanted column, whether the file has it.
    pub has: Vec<bool>,
}

/// The fields of a record, without their quotes.
#[derive(Debug, Default)]
struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, field: usize) -> &[u8] {
        let start = if field == 0 { 0 } else { self.ends[field - 1] };
        &self.bytes[start..self.ends[field]]
    }
}

/// Where the next record of some bytes ends.
#[derive(Debug, PartialEq, Eq)]
enum Split {
    /// Its own bytes, and those with its line end.
    Record { own: usize, all: usize },
    /// It does not end within them.
    More,
}

/// Hands every record of a text to `each`. With `header` that is the first record that has a column of
/// this name; what is above it are pairs of a name and a value, which every record has, too.
///
/// # Errors
/// What is no CSV, with the number of the record, and whatever `each` refuses.
pub fn read(
    mut text: Text<'_>,
    delimiter: char,
    header: Option<&str>,
    wanted: &Wanted,
    begin: impl FnOnce(&[bool]) -> Result<(), InvoiceError>,
    each: &mut Each<'_>,
) -> Result<Shape, InvoiceError> {
    let mut buffer = [0; 4];
    let delimiter = delimiter.encode_utf8(&mut buffer).as_bytes();
    let mut fields = Fields::default();
    let mut line = 1;
    let mut above = Vec::new();
    let (columns, places) = loop {
        let found = next(&mut text, delimiter, &mut fields, &mut line)
            .map_err(|error| InvoiceError::new(format!("in the header: {}", error.problem)))?;
        let found = found.ok_or_else(|| no_header(header, above.is_empty()))?;
        let names = names(&fields)?;
        let is_header = header.is_none_or(|header| names.iter().any(|name| plain(name) == plain(header)));
        let places =
            if is_header { Some((fields.len(), wanted.places(names.iter().copied())?)) } else { None };
        if places.is_none() {
            if above.len() == MAX_ABOVE {
                return Err(no_header(header, false));
            }
            if let [name, value, ..] = names.as_slice() {
                above.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        line += newlines(&text.pending()[..found.all]);
        text.take(found.all);
        if let Some(places) = places {
            break places;
        }
    };
    let above = values_above(wanted, &places, &above)?;
    let has: Vec<bool> =
        places.iter().zip(&above).map(|(place, above)| place.is_some() || above.is_some()).collect();
    begin(&has)?;

    let mut record = Record::new(wanted.len());
    let mut count: Option<usize> = None;
    loop {
        let found = next(&mut text, delimiter, &mut fields, &mut line);
        let Some(found) = found.map_err(|error| error.in_record(record.number + 1, Some(line)))? else {
            break;
        };
        record.next(Some(line))?;
        if fields.len() > columns || count.is_some_and(|count| count != fields.len()) {
            return Err(record.refuse(InvoiceError::new(fields_differ(fields.len(), columns, count))));
        }
        count = Some(fields.len());
        let raw = &text.pending()[..found.own];
        record.fingerprint = Fingerprint::of(raw);
        fill(&mut record, &fields, &places, wanted).map_err(|error| record.refuse(error))?;
        for (slot, value) in above.iter().enumerate() {
            if let Some(value) = value {
                record.put(Slot(slot), value, Kind::Text).map_err(|error| record.refuse(error))?;
            }
        }
        each(&record)?;
        line += newlines(&text.pending()[..found.all]);
        text.take(found.all);
    }
    let fields_missing = count.filter(|count| *count < columns).map(|count| (columns, count));
    Ok(Shape { records: record.number, fields_missing, has })
}

fn no_header(header: Option<&str>, is_empty: bool) -> InvoiceError {
    InvoiceError::new(match header {
        Some(header) if !is_empty => format!(
            "none of its first {MAX_ABOVE} records is the header, which must have a column {}",
            quoted(header)
        ),
        _ => "it is empty: not even a header".to_owned(),
    })
}

fn names(fields: &Fields) -> Result<Vec<&str>, InvoiceError> {
    let mut names = Vec::with_capacity(fields.len());
    for field in 0..fields.len() {
        let name = str::from_utf8(fields.get(field)).map_err(|_| not_utf8("the header"))?;
        if name.contains('\0') {
            return Err(InvoiceError::new(
                "its header has zero bytes in it: it is UTF-16, which the mapping must say: encoding = \"utf-16\"",
            ));
        }
        names.push(name.trim());
    }
    Ok(names)
}

/// What is said above the header of the columns that are not in it.
fn values_above<'a>(
    wanted: &Wanted,
    places: &[Option<usize>],
    above: &'a [(String, String)],
) -> Result<Vec<Option<&'a str>>, InvoiceError> {
    let mut values = vec![None; places.len()];
    let of_names = wanted.places(above.iter().map(|(name, _)| name.as_str()))?;
    for ((value, place), said) in values.iter_mut().zip(places).zip(of_names) {
        if place.is_none() {
            *value = said.map(|said| above[said].1.as_str());
        }
    }
    Ok(values)
}

fn fill(
    record: &mut Record,
    fields: &Fields,
    places: &[Option<usize>],
    wanted: &Wanted,
) -> Result<(), InvoiceError> {
    let something = |field: usize| fields.get(field).iter().any(|byte| !byte.is_ascii_whitespace());
    record.says_something = (0..fields.len()).any(something);
    for (slot, place) in places.iter().enumerate() {
        let Some(field) = place.filter(|place| *place < fields.len()) else { continue };
        let value = str::from_utf8(fields.get(field)).map_err(|_| not_utf8("the cell"));
        let put = value.and_then(|value| record.put(Slot(slot), value, Kind::Text));
        put.map_err(|error| error.in_column(wanted.name(Slot(slot))))?;
    }
    Ok(())
}

fn not_utf8(what: &str) -> InvoiceError {
    InvoiceError::new(format!("{what} is not UTF-8: the mapping must say how the file is encoded"))
}

fn fields_differ(fields: usize, columns: usize, before: Option<usize>) -> String {
    match before {
        Some(before) if fields <= columns => format!(
            "it has {fields} fields, and the records before it have {before}: the file may have been cut, or a field with a delimiter have no quotes"
        ),
        _ => format!(
            "it has {fields} fields, and the header only {columns}: a field with a delimiter may have no quotes"
        ),
    }
}

/// The next record that is no empty line; it is still pending, and `line` is where it begins.
fn next(
    text: &mut Text<'_>,
    delimiter: &[u8],
    fields: &mut Fields,
    line: &mut u64,
) -> Result<Option<Ends>, InvoiceError> {
    loop {
        match split(text.pending(), text.ended(), delimiter, fields).map_err(InvoiceError::new)? {
            Split::More if text.ended() => return Ok(None),
            Split::More => text.more()?,
            Split::Record { own: 0, all } => {
                *line += newlines(&text.pending()[..all]);
                text.take(all);
            }
            Split::Record { own, all } => return Ok(Some(Ends { own, all })),
        }
    }
}

struct Ends {
    own: usize,
    all: usize,
}

fn newlines(bytes: &[u8]) -> u64 {
    let count = bytes.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(count).expect("a record is short")
}

/// Takes the first record of `bytes` apart.
fn split(bytes: &[u8], ended: bool, delimiter: &[u8], fields: &mut Fields) -> Result<Split, String> {
    fields.bytes.clear();
    fields.ends.clear();
    if bytes.is_empty() {
        return Ok(Split::More);
    }
    let mut at = 0;
    loop {
        let start = fields.bytes.len();
        let Some(end) = field(bytes, at, ended, delimiter, fields)? else { return Ok(Split::More) };
        at = end;
        if fields.bytes.len() - start > MAX_CELL {
            return Err(format!("a cell of more than {MAX_CELL} bytes"));
        }
        fields.ends.push(fields.bytes.len());
        if fields.len() > MAX_COLUMNS {
            return Err(format!("more than {MAX_COLUMNS} fields"));
        }
        let rest = &bytes[at..];
        if rest.starts_with(delimiter) && !delimiter.is_empty() {
            at += delimiter.len();
            continue;
        }
        if !ended && (rest == b"\r" || delimiter.starts_with(rest)) {
            return Ok(Split::More);
        }
        return match rest {
            [] => Ok(Split::Record { own: at, all: at }),
            [b'\r', b'\n', ..] => Ok(Split::Record { own: at, all: at + 2 }),
            [b'\r' | b'\n', ..] => Ok(Split::Record { own: at, all: at + 1 }),
            _ => {
                let after = String::from_utf8_lossy(&rest[..rest.len().min(40)]);
                Err(format!(
                    "after a closing quote neither the delimiter nor the end of the line, but {}",
                    quoted(&after)
                ))
            }
        };
    }
}

/// Takes a field that begins at `at`; where it ends, or `None` where it does not yet.
fn field(
    bytes: &[u8],
    mut at: usize,
    ended: bool,
    delimiter: &[u8],
    fields: &mut Fields,
) -> Result<Option<usize>, String> {
    if bytes.get(at) != Some(&b'"') {
        let first = delimiter[0];
        let from = at;
        loop {
            let ends = |byte: &u8| *byte == first || matches!(byte, b'\r' | b'\n');
            let Some(length) = bytes[at..].iter().position(ends) else {
                fields.bytes.extend_from_slice(&bytes[from..]);
                return Ok(ended.then_some(bytes.len()));
            };
            at += length;
            let rest = &bytes[at..];
            let is_end = rest[0] != first || rest.starts_with(delimiter);
            let may_be_end = !ended && delimiter.starts_with(rest);
            if is_end || may_be_end {
                fields.bytes.extend_from_slice(&bytes[from..at]);
                return Ok(is_end.then_some(at));
            }
            at += 1;
        }
    }
    at += 1;
    loop {
        let Some(length) = bytes[at..].iter().position(|byte| *byte == b'"') else {
            return if ended {
                Err("a quote does not end: the file may have been cut".to_owned())
            } else {
                Ok(None)
            };
        };
        fields.bytes.extend_from_slice(&bytes[at..at + length]);
        at += length + 1;
        match bytes.get(at) {
            Some(b'"') => {
                fields.bytes.push(b'"');
                at += 1;
            }
            None if !ended => return Ok(None),
            _ => return Ok(Some(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::invoice_mapping::Encoding;

    fn records(bytes: &[u8], delimiter: char) -> Result<(Vec<String>, Shape), String> {
        let mut wanted = Wanted::default();
        let slots = ["a", "b"].map(|name| wanted.slot(name));
        let mut seen = Vec::new();
        let shape = read(
            Text::new(bytes, false, Encoding::Utf8),
            delimiter,
            None,
            &wanted,
            |_| Ok(()),
            &mut |record: &Record| {
                let cells = slots.map(|slot| record.get(slot).map_or("-", |(text, _)| text).to_owned());
                seen.push(format!("{}@{} {}", record.number, record.line.expect("a text"), cells.join("|")));
                Ok(())
            },
        );
        shape.map(|shape| (seen, shape)).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(bytes: &str, expected: &[&str]) {
        assert_eq!(records(bytes.as_bytes(), ',').expect("a CSV").0, expected, "{bytes:?}");
    }

    #[track_caller]
    fn refused(bytes: &str, part: &str) {
        let error = records(bytes.as_bytes(), ',').expect_err("no CSV");
        assert!(error.contains(part), "{part}: {error}");
    }

    #[test]
    fn fields_are_quoted_or_not() {
        check("a,b\n1,2\n", &["1@2 1|2"]);
        check("a,b\r\n1,2\r\n\r\n3,4", &["1@2 1|2", "2@4 3|4"]);
        check("a,b\r1,2\r3,4\r", &["1@1 1|2", "2@1 3|4"]);
        check("a,b\n\"1,\r\n\"\"x\"\"\",2\n3,\n", &["1@2 1,\r\n\"x\"|2", "2@4 3|-"]);
        check("b,a\n1,5\" pipe\n", &["1@2 5\" pipe|1"]);
        check("\"a\",\"b\"\n\"\",\" NULL \"\n", &["1@2 -|-"]);
        check("a,b\n", &[]);
        let (seen, _) = records("a¦b\n1¥¦2§\n".as_bytes(), '¦').expect("a CSV");
        assert_eq!(seen, ["1@2 1¥|2§"]);
    }

    #[test]
    fn nothing_is_guessed() {
        refused("", "it is empty");
        refused("\n\r\n", "it is empty");
        refused("a,b\n1,2\n3,\"4", "record 2 (line 3): a quote does not end");
        refused("a,b\n\"1\"x,2", "record 1 (line 2): after a closing quote");
        refused("a,b\n1,2,3\n", "record 1 (line 2): it has 3 fields, and the header only 2");
        refused(
            "a,b,c\n1,2,3\n1,2\n",
            "record 2 (line 3): it has 2 fields, and the records before it have 3",
        );
        refused(
            "a,b,c\n1,2\n1,2,3\n",
            "record 2 (line 3): it has 3 fields, and the records before it have 2",
        );
        refused("\"a,b\n1,2", "header");
        let mut bytes = b"a,b\n1,2\nx".to_vec();
        bytes.push(0xFF);
        bytes.extend_from_slice(b",1\n");
        assert!(
            records(&bytes, ',')
                .expect_err("no UTF-8")
                .contains("record 2 (line 3), column a: the cell is not UTF-8")
        );
        let sixteen: Vec<u8> = "a,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(records(&sixteen, ',').expect_err("no UTF-8").contains("utf-16"));
    }

    #[test]
    fn fields_that_every_record_is_missing_are_told() {
        let (_, shape) = records(b"a,b,c,d\n1,2\n3,4\n", ',').expect("a CSV");
        assert_eq!(shape, Shape { records: 2, fields_missing: Some((4, 2)), has: vec![true, true] });
        let (seen, _) = records(b"c,a,b\n1,2\n", ',').expect("a CSV");
        assert_eq!(seen, ["1@2 2|-"]);
    }

    #[test]
    fn what_is_above_a_header_every_record_has() {
        let with_header = |bytes: &str| {
            let mut wanted = Wanted::default();
            let slots = ["a", "b"].map(|name| wanted.slot(name));
            let (mut seen, mut had) = (Vec::new(), Vec::new());
            let text = Text::new(bytes.as_bytes(), false, Encoding::Utf8);
            let begin = |has: &[bool]| {
                had.extend_from_slice(has);
                Ok(())
            };
            let read = read(text, ',', Some("A"), &wanted, begin, &mut |record: &Record| {
                let cells = slots.map(|slot| record.get(slot).map_or("-", |(text, _)| text).to_owned());
                seen.push(format!("{}@{} {}", record.number, record.line.expect("a text"), cells.join("|")));
                Ok(())
            });
            read.map(|_| (seen, had)).map_err(|error| error.to_string())
        };
        let (seen, had) = with_header("b,\"7,5\",\nx\n\n a ,c\n1,2\n3,4\n").expect("a CSV");
        assert_eq!((seen, had), (vec!["1@5 1|7,5".to_owned(), "2@6 3|7,5".to_owned()], vec![true, true]));
        // What the header has is not looked for above it.
        let (seen, _) = with_header("b,7\na,b\n1,2\n").expect("a CSV");
        assert_eq!(seen, ["1@3 1|2"]);
        for none in ["b,7\n".to_owned(), "b,7\n".repeat(MAX_ABOVE + 1)] {
            let error = with_header(&none).expect_err("no header");
            assert!(error.contains("the header, which must have a column \"A\""), "{error}");
        }
        assert!(with_header("").expect_err("empty").contains("it is empty"));
    }

    #[test]
    fn records_may_be_cut_by_chunks() {
        let long = format!("a,b\n{}", "\"x\"\"y\",22\r\n".repeat(20_000));
        let (seen, shape) = records(long.as_bytes(), ',').expect("a CSV");
        assert_eq!(shape.records, 20_000);
        assert!(seen.iter().all(|seen| seen.ends_with(" x\"y|22")));
        // Whatever the bytes that are there yet, a record is the same once it ends.
        let bytes = "\"a\"\"¦\"¦b\r\nc".as_bytes();
        let mut fields = Fields::default();
        for cut in 0..bytes.len() {
            let split = split(&bytes[..cut], false, "¦".as_bytes(), &mut fields).expect("a prefix");
            let expected = if cut < 12 { Split::More } else { Split::Record { own: 10, all: 12 } };
            assert_eq!(split, expected, "{cut}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        refused(&"x,".repeat(1_000_000), "in the header: more than 4096 fields");
        refused(&format!("a,b\n{},1\n", "x".repeat(100_000_000)), "record 1 (line 2): a ");
        refused(
            &format!("a,b\n\"{}\",1\n", "x".repeat(MAX_CELL + 1)),
            "record 1 (line 2): a cell of more than",
        );
        check(&format!("a,b\n\"{}\",1\n", " ".repeat(MAX_CELL)), &["1@2 -|1"]);
    }
}
