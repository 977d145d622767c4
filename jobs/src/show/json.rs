//! JSON for programs, which a person may look at too.

use schemas::name::is_plain;
use std::fmt::Write as _;

/// A JSON document for programs, as [`printable_json`].
pub fn json_document(value: &serde_json::Value) -> String {
    printable_json(&format!("{value:#}"))
}

/// JSON that a person may look at too: what would steer a terminal is escaped as JSON does it. It
/// stands in strings only, because everything else in JSON is ASCII.
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_plain(character) || character == '\n' {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_document_says_the_same_escaped() {
        let value =
            serde_json::json!({ "a\u{202e}": ["\u{1b}[31m", "\u{7f}\u{9b}\u{200b}\u{e0041}", "größe"] });
        let shown = json_document(&value);
        assert!(shown.chars().all(|character| character == '\n' || is_plain(character)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
        assert!(shown.contains("größe") && shown.contains("\\udb40\\udc41"), "{shown}");
    }
}
