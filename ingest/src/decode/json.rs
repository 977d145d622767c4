//! Strict JSON (RFC 8259, with the unique names of RFC 7493): what a bill may be computed from.
//!
//! Numbers stay the text they were written as, so nothing ever passes through a float. The parser
//! keeps its own stack, so nesting cannot exhaust the thread's; it reads the whole text even when
//! it has found a repeated name or too much nesting, because a text that is not JSON at all is
//! refused for that first.
//!
//! It deliberately does not take arrays apart: no field of an event is one. An array is the text that
//! it was written as.

use bumpalo::Bump;
use schemas::rejection::{Reason, Rejection};

/// How deep objects and arrays may nest; the outermost is 1.
pub const MAX_DEPTH: usize = 64;

pub type Members<'a> = Vec<(&'a str, Json<'a>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a> {
    Null,
    Boolean(bool),
    /// The literal as written.
    Number(&'a str),
    Text(&'a str),
    /// As written, with its brackets.
    Array(&'a str),
    Object(Members<'a>),
}

impl Json<'_> {
    /// Its type, for a sentence.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads one JSON value that is the whole of `bytes`. Strings with escapes are written to `arena`.
///
/// # Errors
/// `Utf8Invalid`, `JsonInvalid`, `JsonDuplicateName`, `JsonTooDeep`, in this order.
pub fn parse<'a>(bytes: &'a [u8], arena: &'a Bump) -> Result<Json<'a>, Rejection> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Rejection::new(
            Reason::Utf8Invalid,
            format!("the bytes are not UTF-8 from byte {}", error.valid_up_to()),
        )
    })?;
    let mut parser = Parser { text, arena, at: 0, duplicate: None, too_deep: false };
    let json = parser
        .document()
        .map_err(|detail| Rejection::new(Reason::JsonInvalid, format!("{detail} at byte {}", parser.at)))?;
    if let Some(name) = parser.duplicate {
        return Err(Rejection::new(
            Reason::JsonDuplicateName,
            format!("an object has the name {name:?} twice"),
        ));
    }
    if parser.too_deep {
        return Err(Rejection::new(
            Reason::JsonTooDeep,
            format!("objects and arrays are nested more than {MAX_DEPTH} deep"),
        ));
    }
    Ok(json)
}

struct Parser<'a> {
    text: &'a str,
    arena: &'a Bump,
    at: usize,
    duplicate: Option<String>,
    too_deep: bool,
}

/// An object or array that is still open.
enum Open<'a> {
    /// Where it begins.
    Array(usize),
    Object {
        members: Members<'a>,
        name: &'a str,
    },
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Json<'a>, &'static str> {
        if self.text.starts_with('\u{FEFF}') {
            return Err("a byte order mark");
        }
        let mut open: Vec<Open<'a>> = Vec::new();
        loop {
            let Some(mut value) = self.value(&mut open)? else { continue };
            // A value is complete: hand it to the container around it, which may complete that, and
            // so on.
            loop {
                self.blank();
                match open.last_mut() {
                    None if self.at == self.text.len() => return Ok(value),
                    None => return Err("something after the end of the value"),
                    Some(Open::Array(start)) => match self.take_if(|byte| matches!(byte, b',' | b']')) {
                        Some(b',') => break,
                        Some(_) => value = Json::Array(&self.text[*start..self.at]),
                        None => return Err("neither a comma nor the end of the array"),
                    },
                    Some(Open::Object { members, name }) => {
                        members.push((*name, value));
                        match self.take_if(|byte| matches!(byte, b',' | b'}')) {
                            Some(b',') => {
                                *name = self.name()?;
                                break;
                            }
                            Some(_) => {
                                let members = std::mem::take(members);
                                self.find_duplicate(&members);
                                // A value that is too deep is only checked, not kept, so that
                                // dropping the tree cannot recurse far.
                                value =
                                    if open.len() > MAX_DEPTH { Json::Null } else { Json::Object(members) };
                            }
                            None => return Err("neither a comma nor the end of the object"),
                        }
                    }
                }
                open.pop();
            }
        }
    }

    /// Reads a scalar or an empty container; `None` when a container was opened and its first value
    /// is next.
    fn value(&mut self, open: &mut Vec<Open<'a>>) -> Result<Option<Json<'a>>, &'static str> {
        self.blank();
        let start = self.at;
        match self.take() {
            Some(b'{') => {
                self.too_deep |= open.len() >= MAX_DEPTH;
                self.blank();
                if self.take_if(|byte| byte == b'}').is_some() {
                    return Ok(Some(Json::Object(Vec::new())));
                }
                let name = self.name()?;
                open.push(Open::Object { members: Vec::new(), name });
                Ok(None)
            }
            Some(b'[') => {
                self.too_deep |= open.len() >= MAX_DEPTH;
                self.blank();
                if self.take_if(|byte| byte == b']').is_some() {
                    return Ok(Some(Json::Array(&self.text[start..self.at])));
                }
                open.push(Open::Array(start));
                Ok(None)
            }
            Some(b'"') => self.string().map(|text| Some(Json::Text(text))),
            Some(b'-' | b'0'..=b'9') => {
                self.at = start;
                self.number().map(|literal| Some(Json::Number(literal)))
            }
            Some(b'+') => {
                self.at = start;
                Err("a number with a plus sign")
            }
            Some(b'.') => {
                self.at = start;
                Err("a number without digits before its point")
            }
            Some(b't') => self.word(start, "true", Json::Boolean(true)),
            Some(b'f') => self.word(start, "false", Json::Boolean(false)),
            Some(b'n') => self.word(start, "null", Json::Null),
            Some(_) => {
                self.at = start;
                Err("no JSON value")
            }
            None => Err("the text ends too early"),
        }
    }

    fn word(&mut self, start: usize, word: &str, value: Json<'a>) -> Result<Option<Json<'a>>, &'static str> {
        if !self.text[start..].starts_with(word) {
            self.at = start;
            return Err("no JSON value");
        }
        self.at = start + word.len();
        Ok(Some(value))
    }

    /// A member's name and the colon after it.
    fn name(&mut self) -> Result<&'a str, &'static str> {
        self.blank();
        self.take_if(|byte| byte == b'"').ok_or("no name of a member")?;
        let name = self.string()?;
        self.blank();
        self.take_if(|byte| byte == b':').ok_or("no colon after a name")?;
        Ok(name)
    }

    fn number(&mut self) -> Result<&'a str, &'static str> {
        let start = self.at;
        self.take_if(|byte| byte == b'-');
        let leading = self.at;
        match self.digits() {
            0 => return Err("a number without digits"),
            1 => {}
            _ if self.text.as_bytes()[leading] == b'0' => {
                self.at = leading;
                return Err("a number with a leading zero");
            }
            _ => {}
        }
        if self.take_if(|byte| byte == b'.').is_some() && self.digits() == 0 {
            return Err("a number without digits after the point");
        }
        if self.take_if(|byte| matches!(byte, b'e' | b'E')).is_some() {
            self.take_if(|byte| matches!(byte, b'+' | b'-'));
            if self.digits() == 0 {
                return Err("a number without digits in its exponent");
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.take_if(|byte| byte.is_ascii_digit()).is_some() {}
        self.at - start
    }

    /// The rest of a string whose opening quote has been read.
    fn string(&mut self) -> Result<&'a str, &'static str> {
        let mut decoded: Option<bumpalo::collections::String<'a>> = None;
        let mut start = self.at;
        loop {
            match self.peek() {
                None => return Err("a string without an end"),
                Some(b'"') => {
                    let tail = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(match decoded {
                        None => tail,
                        Some(mut text) => {
                            text.push_str(tail);
                            text.into_bump_str()
                        }
                    });
                }
                Some(b'\\') => {
                    let text =
                        decoded.get_or_insert_with(|| bumpalo::collections::String::new_in(self.arena));
                    text.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    text.push(self.escape()?);
                    start = self.at;
                }
                Some(0..=0x1F) => return Err("a control character in a string"),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        Ok(match self.take() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let lone = "half a surrogate pair";
                let code = match self.unit()? {
                    high @ 0xD800..=0xDBFF => {
                        if self.take() != Some(b'\\') || self.take() != Some(b'u') {
                            return Err(lone);
                        }
                        match self.unit()? {
                            low @ 0xDC00..=0xDFFF => 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                            _ => return Err(lone),
                        }
                    }
                    unit => unit,
                };
                char::from_u32(code).ok_or(lone)?
            }
            _ => return Err("an escape that JSON does not have"),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, &'static str> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self
                .take()
                .and_then(|byte| char::from(byte).to_digit(16))
                .ok_or("fewer than four hexadecimal digits")?;
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    fn find_duplicate(&mut self, members: &Members<'a>) {
        if self.duplicate.is_some() {
            return;
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        self.duplicate = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_owned());
    }

    fn blank(&mut self) {
        while self.take_if(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).is_some() {}
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        self.take_if(|_| true)
    }

    /// The next byte, taken only if it is wanted.
    fn take_if(&mut self, wanted: impl FnOnce(u8) -> bool) -> Option<u8> {
        let byte = self.peek().filter(|byte| wanted(*byte))?;
        self.at += 1;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<(), Reason>) {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(
            parse(bytes, &Bump::new()).map(|_| ()).map_err(|rejection| rejection.reason),
            expected,
            "{}",
            shown.chars().take(80).collect::<String>()
        );
    }

    #[test]
    fn agrees_with_serde_json_about_what_json_is() {
        let texts = [
            "{}",
            "[]",
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.5e+3",
            "1E-2",
            "\"a\"",
            " {\"a\" : [1 , {\"b\":null}] }\n",
            "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "{\"a\":1]",
            "01",
            "-",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "NaN",
            "Infinity",
            "-Infinity",
            "nul",
            "nulll",
            "tru",
            "True",
            "\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\t\"",
            "\"\u{1f}\"",
            "\"\u{7f}\"",
            "{} {}",
            "1 1",
            "{}x",
            "\u{FEFF}{}",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\ud800\\\"",
            "// a\n{}",
            "{\"a\":1 \"b\":2}",
            "\u{a0}1",
            "1\u{0}",
        ];
        for text in texts {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
                && serde_json::from_str::<serde_json::Value>(text).is_ok();
            check(text.as_bytes(), if theirs { Ok(()) } else { Err(Reason::JsonInvalid) });
        }
    }

    #[test]
    fn names_are_unique_at_any_depth_after_unescaping() {
        check(br#"{"a":1,"b":{"a":1}}"#, Ok(()));
        check(br#"{"a":1,"a":1}"#, Err(Reason::JsonDuplicateName));
        check(br#"{"a":1,"b":2,"c":3,"a":4}"#, Err(Reason::JsonDuplicateName));
        check(br#"{"a":1,"\u0061":1}"#, Err(Reason::JsonDuplicateName));
        check(br#"{"x":[[{"a":1,"a":2}]]}"#, Err(Reason::JsonDuplicateName));
        check(br#"{"a":1,"a":1"#, Err(Reason::JsonInvalid));
    }

    #[test]
    fn nesting_is_limited_without_recursion() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        check(&nested(MAX_DEPTH), Ok(()));
        check(&nested(MAX_DEPTH + 1), Err(Reason::JsonTooDeep));
        check(&nested(400_000), Err(Reason::JsonTooDeep));
        check(&b"[".repeat(400_000), Err(Reason::JsonInvalid));
        let objects = [br#"{"a":"#.repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
        check(&objects, Err(Reason::JsonTooDeep));
        let both = [br#"{"a":"#.repeat(70), br#"{"a":1,"a":1}"#.to_vec(), b"}".repeat(70)].concat();
        check(&both, Err(Reason::JsonDuplicateName));
    }

    #[test]
    fn bytes_are_utf8() {
        check(b"\"\xff\"", Err(Reason::Utf8Invalid));
        check(b"\"\xed\xa0\x80\"", Err(Reason::Utf8Invalid));
        check(b"\"\xc0\xaf\"", Err(Reason::Utf8Invalid));
    }

    #[test]
    fn strings_and_numbers_are_kept_as_written() {
        let arena = Bump::new();
        let Ok(Json::Object(members)) =
            parse(br#"{"n":123456789012345678901234567890.10,"t":"a\u00e9\ud83d\ude00b"}"#, &arena)
        else {
            panic!("an object")
        };
        assert_eq!(members[0].1, Json::Number("123456789012345678901234567890.10"));
        assert_eq!(members[1].1, Json::Text("a\u{e9}\u{1F600}b"));
    }
}
