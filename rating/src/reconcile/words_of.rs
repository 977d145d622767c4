//! The words of names and texts, for hints: `TimedStorage-ByteHrs` has `timed`, `storage`, `byte`, `hrs`.
//!
//! Nothing is deliberately billed or compared by them.
//!
//! Invariant: a word says something: it is no number, no single letter, and none that every price list
//! has.

use std::collections::{BTreeMap, BTreeSet};

/// Words that tell nothing apart.
const COMMON: [&str; 16] = [
    "and", "by", "each", "first", "for", "from", "in", "next", "of", "over", "per", "the", "to", "unit",
    "usage", "with",
];
/// No text has more words that are looked at.
const MOST: usize = 64;

/// The words of some texts, in lower case.
pub(super) fn words_of<'t>(texts: impl IntoIterator<Item = &'t str>) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for text in texts {
        let parts = text.split(|character: char| !character.is_alphanumeric());
        let parts = parts.flat_map(|part| [part.to_lowercase()].into_iter().chain(humps(part)));
        let says = |word: &String| {
            word.chars().count() > 1
                && word.chars().any(char::is_alphabetic)
                && !COMMON.contains(&word.as_str())
        };
        words.extend(parts.take(MOST).filter(says));
    }
    words
}

/// `ByteHrs` as `byte` and `hrs`; nothing where there is one word.
fn humps(part: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut was_lower = false;
    for character in part.chars() {
        if words.is_empty() || (was_lower && character.is_uppercase()) {
            words.push(String::new());
        }
        let word = words.last_mut().expect("one was pushed before the first character");
        word.extend(character.to_lowercase());
        was_lower = character.is_lowercase();
    }
    if words.len() > 1 { words } else { Vec::new() }
}

/// The words that exactly one of several things has, and which one.
pub(super) fn telling(things: &[BTreeSet<String>]) -> BTreeMap<&str, usize> {
    let mut of: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    for (place, words) in things.iter().enumerate() {
        for word in words {
            of.entry(word).and_modify(|only| *only = None).or_insert(Some(place));
        }
    }
    of.into_iter().filter_map(|(word, only)| Some((word, only?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_words() {
        let words = |text| words_of([text]).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(words("TimedStorage-ByteHrs"), "byte bytehrs hrs storage timed timedstorage");
        assert_eq!(words("TRANSIT/EU"), "eu transit");
        assert_eq!(words("Requests, per thousand of 2025-09 x"), "requests thousand");
        assert_eq!(words("=1+1"), "");
        assert_eq!(words("Größe"), "größe");
    }

    #[test]
    fn a_word_of_one_thing_tells_it_apart() {
        let things = [words_of(["Hot storage"]), words_of(["Cold storage"])];
        assert_eq!(telling(&things), BTreeMap::from([("cold", 1), ("hot", 0)]));
    }
}
