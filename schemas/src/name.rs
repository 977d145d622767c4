//! When a text is a name, and what of a text may be shown to a person as it is.
//!
//! Every text, [`check_text`]: not empty, at most [`MAX_BYTES`] bytes of UTF-8, no control
//! characters and no noncharacters (CloudEvents 1.0.2, "Type System", String), and nothing that
//! cannot be seen or that changes how its neighbours are shown (UAX #44,
//! `Default_Ignorable_Code_Point`; UAX #9, the bidirectional controls; private use).
//!
//! A name, [`check_name`], must also be told from every other name by eye (UTS #39, "Unicode
//! Security Mechanisms"):
//! - its letters are of one alphabet among Latin, Greek, Cyrillic, Armenian and Cherokee, which
//!   have letters that look the same (section 5.2), and Greek or Cyrillic letters are not all ones
//!   that look Latin (section 4);
//! - no letter or digit that Unicode keeps only for compatibility, such as fullwidth or
//!   mathematical ones, and no U+FFFD (section 3.1, `Not_NFKC`);
//! - no combining diacritical mark, because the same letter could be written in two ways: `ü` is
//!   one character (section 3.1, NFC);
//! - no space but U+0020, and none at the beginning or end.
//!
//! This deliberately says nothing of two names in one other script each, of digits of several
//! scripts, or of punctuation: names compare byte for byte, nothing is folded or normalised, and
//! whoever reads a bill can see that such names differ. Nor does it refuse all that UTS #39 would:
//! - of the 5,026 forms that Unicode 18 keeps for compatibility, 1,153 are refused; `m²`, `№` and
//!   `½` are names;
//! - of the 88 Greek and Cyrillic letters that look like Latin ones, 58 are in the table; г, ш, Ү
//!   and 27 others are not;
//! - an alphabet is its blocks: a Coptic letter counts as Greek, a small capital Greek letter of
//!   the phonetic blocks as Latin, and letters beyond those blocks belong to none.
//!
//! Invariant: a name stays a name. Ledgers hold names, and rating checks them again, so the rule
//! does not move with a version of Unicode: the tables stand here, and tests hold them against the
//! data of UTS #39.

/// The longest name, in bytes of UTF-8.
pub const MAX_BYTES: usize = 1024;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("it contains the character U+{0:04X}, which a name may not have")]
    ForbiddenCharacter(u32),
    #[error("it begins or ends with a space")]
    OuterSpace,
    #[error("it mixes letters of the {0} and the {1} alphabet, which look alike")]
    MixedAlphabets(&'static str, &'static str),
    #[error("its letters are {0}, and every one of them looks like a Latin letter")]
    LooksLatin(&'static str),
}

/// Checks the rules that every text of a person obeys, such as a reason.
///
/// ```
/// # use schemas::name::{NameError, check_text};
/// assert_eq!(check_text("the Ω of the second week was wrong"), Ok(()));
/// assert_eq!(check_text("a\u{1B}[2J"), Err(NameError::ForbiddenCharacter(0x1B)));
/// ```
///
/// # Errors
/// The first rule that `text` breaks.
pub fn check_text(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(NameError::TooLong);
    }
    if is_printable_ascii(text.as_bytes()) {
        return Ok(());
    }
    forbid(text, |character| !is_plain(character))
}

/// Checks the rules that every reason obeys: it is a text and says something.
///
/// ```
/// # use schemas::name::{NameError, check_reason};
/// assert_eq!(check_reason("a misprint"), Ok(()));
/// assert_eq!(check_reason("  "), Err(NameError::Empty));
/// ```
///
/// # Errors
/// The first rule that `text` breaks.
pub fn check_reason(text: &str) -> Result<(), NameError> {
    check_text(text)?;
    if text.trim().is_empty() { Err(NameError::Empty) } else { Ok(()) }
}

/// Checks the rules that every name obeys.
///
/// ```
/// # use schemas::name::{NameError, check_name};
/// assert_eq!(check_name("projekte/größe 3"), Ok(()));
/// // The Cyrillic letter that looks like an a.
/// let mixed = NameError::MixedAlphabets("Latin", "Cyrillic");
/// assert_eq!(check_name("projects/\u{430}1"), Err(mixed));
/// ```
///
/// # Errors
/// The first rule that `text` breaks.
pub fn check_name(text: &str) -> Result<(), NameError> {
    if is_printable_ascii(text.as_bytes()) {
        return check_printable_name(text);
    }
    check_text(text)?;
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(NameError::OuterSpace);
    }
    forbid(text, is_look_alike)?;
    let mut alphabets = text.chars().filter_map(alphabet);
    let Some(first) = alphabets.next() else { return Ok(()) };
    match alphabets.find(|other| *other != first) {
        Some(other) => Err(NameError::MixedAlphabets(first, other)),
        None if text
            .chars()
            .all(|character| !character.is_alphabetic() || LOOK_LATIN.contains(character)) =>
        {
            Err(NameError::LooksLatin(first))
        }
        None => Ok(()),
    }
}

fn forbid(text: &str, forbidden: impl Fn(char) -> bool) -> Result<(), NameError> {
    match text.chars().find(|character| forbidden(*character)) {
        Some(character) => Err(NameError::ForbiddenCharacter(u32::from(character))),
        None => Ok(()),
    }
}

/// The text of bytes from U+0020 to U+007E, as nearly all names are.
///
/// ```
/// # use schemas::name::printable_ascii;
/// assert_eq!(printable_ascii(b"projects/a1"), Some("projects/a1"));
/// assert_eq!(printable_ascii("größe".as_bytes()), None);
/// assert_eq!(printable_ascii(b"a\tb"), None);
/// ```
pub fn printable_ascii(bytes: &[u8]) -> Option<&str> {
    #[expect(unsafe_code, reason = "the bytes would be looked at once more")]
    // SAFETY: ASCII is UTF-8.
    is_printable_ascii(bytes).then(|| unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// As [`check_name`], for a text that is [`printable_ascii`].
///
/// ```
/// # use schemas::name::{NameError, check_printable_name};
/// assert_eq!(check_printable_name("projects/a1"), Ok(()));
/// assert_eq!(check_printable_name("projects/a1 "), Err(NameError::OuterSpace));
/// ```
///
/// # Errors
/// The first rule that `text` breaks.
#[inline]
pub fn check_printable_name(text: &str) -> Result<(), NameError> {
    match text.as_bytes() {
        [] => Err(NameError::Empty),
        bytes if bytes.len() > MAX_BYTES => Err(NameError::TooLong),
        [b' ', ..] | [.., b' '] => Err(NameError::OuterSpace),
        _ => Ok(()),
    }
}

/// Eight bytes at a time.
#[inline]
fn is_printable_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A byte's high bit is set where it is no ASCII, below a space, or DEL. No byte borrows or
    // carries into the next.
    let outside = |eight: u64| {
        (eight | (eight & !HIGH).wrapping_add(ONES) | !((eight | HIGH).wrapping_sub(ONES * 0x20))) & HIGH
    };
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().all(|byte| matches!(byte, 0x20..=0x7E));
    };
    // The last eight overlap those before them, so that no byte is looked at alone.
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().chain([last]).fold(0, |found, eight| found | outside(u64::from_le_bytes(*eight))) == 0
}

/// Whether a character can be seen, or is a space, and changes nothing about how others are shown:
/// whether it may go to a terminal as it is.
///
/// ```
/// # use schemas::name::is_plain;
/// assert!("größe 3 / 北京 ½".chars().all(is_plain));
/// // An escape character, a turn of the direction of writing, a space without width.
/// assert!(!"\u{1B}\u{202E}\u{200B}".chars().any(is_plain));
/// ```
pub fn is_plain(character: char) -> bool {
    let noncharacter = u32::from(character) & 0xFFFE == 0xFFFE;
    let hidden = matches!(character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{E000}'..='\u{F8FF}' | '\u{FDD0}'..='\u{FDEF}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..);
    !(character.is_control() || noncharacter || hidden)
}

/// Characters of which another one, or another spelling, looks the same.
fn is_look_alike(character: char) -> bool {
    let space = character.is_whitespace() && character != ' ';
    let compatibility = matches!(character,
        '\u{37E}' | '\u{2126}' | '\u{212A}' | '\u{212B}' | '\u{2160}'..='\u{217F}' | '\u{FB00}'..='\u{FB06}' | '\u{FF01}'..='\u{FF5E}' | '\u{FFFC}'
        | '\u{FFFD}' | '\u{1D400}'..='\u{1D7FF}');
    let combining = matches!(character,
        '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}');
    space || compatibility || combining
}

/// Greek and Cyrillic letters that look like Latin ones (UTS #39, confusables.txt): a name of
/// nothing else is read as a Latin name.
const LOOK_LATIN: &str = concat!("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγινορσυϲϳ", "АВЕЅІЈКМНОРСТУХЬаеѕіјорсухһԁԛԝѵӀӏү");

/// The alphabet of a letter that has a look-alike in another alphabet, by its block.
fn alphabet(letter: char) -> Option<&'static str> {
    match letter {
        _ if !letter.is_alphabetic() => None,
        // The micro sign is no letter of the Greek alphabet; the ordinals and modifier letters are
        // Latin.
        '\u{B5}' => None,
        'A'..='Z'
        | 'a'..='z'
        | '\u{AA}'..='\u{2B8}'
        | '\u{1D00}'..='\u{1DBF}'
        | '\u{1E00}'..='\u{1EFF}'
        | '\u{2C60}'..='\u{2C7F}'
        | '\u{A722}'..='\u{A7FF}'
        | '\u{AB30}'..='\u{AB6F}' => Some("Latin"),
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => Some("Greek"),
        '\u{400}'..='\u{52F}' | '\u{1C80}'..='\u{1C8F}' | '\u{A640}'..='\u{A69F}' => Some("Cyrillic"),
        '\u{530}'..='\u{58F}' => Some("Armenian"),
        '\u{13A0}'..='\u{13FF}' | '\u{AB70}'..='\u{ABBF}' => Some("Cherokee"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_script::UnicodeScript as _;
    use unicode_security::GeneralSecurityProfile as _;
    use unicode_security::general_security_profile::IdentifierType;

    #[test]
    fn names_are_short_and_can_be_told_apart() {
        let forbidden = |character: char| Err(NameError::ForbiddenCharacter(u32::from(character)));
        for name in [
            "projects/a1",
            "projekte/größe 3",
            "größe/٣",
            "проект-1",
            "έργο/1",
            "北京/プロジェクト",
            "µs",
            "r/😀",
            "r/\u{FFEE}",
            "É",
            "x\u{10300}",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&"x".repeat(MAX_BYTES + 1)), Err(NameError::TooLong));
        assert_eq!(check_name(" a"), Err(NameError::OuterSpace));
        assert_eq!(check_name("a "), Err(NameError::OuterSpace));
        let hidden = "\0\u{7F}\u{85}\u{AD}\u{202E}\u{2028}\u{200B}\u{200D}\u{2060}\u{3164}\u{FE0F}\u{FEFF}\u{FFFF}\u{FDD0}\u{1FFFE}\u{E0041}\u{E0100}\u{10FFFD}";
        for character in hidden.chars() {
            assert_eq!(check_text(&format!("a{character}b")), forbidden(character), "{character:?}");
        }
        for character in "\u{A0}\u{3000}\u{301}\u{212A}\u{FF41}\u{FFFD}\u{1D41A}".chars() {
            assert_eq!(check_name(&format!("a{character}b")), forbidden(character), "{character:?}");
            assert_eq!(check_text(&format!("a{character}b")), Ok(()), "{character:?}");
        }
        // Wherever in a long name a character stands, and beside whatever it stands.
        for character in "\0\u{1F}\u{7F}\u{85}\u{2028}".chars() {
            for before in 0..20 {
                for beside in [" ", "~", "ü"] {
                    let name = format!("{}{character}{}", beside.repeat(before), beside.repeat(12));
                    assert_eq!(check_name(&name), forbidden(character), "{name:?}");
                }
            }
        }
        assert_eq!(check_name(&"~ ~".repeat(20)), Ok(()));
    }

    #[test]
    fn a_name_is_of_one_alphabet() {
        let mixed = |first, second| Err(NameError::MixedAlphabets(first, second));
        assert_eq!(check_name("projects/\u{430}1"), mixed("Latin", "Cyrillic"));
        assert_eq!(check_name("\u{391}cme"), mixed("Greek", "Latin"));
        assert_eq!(check_name("\u{430}\u{3B1}"), mixed("Cyrillic", "Greek"));
        assert_eq!(check_name("\u{585}ne"), mixed("Armenian", "Latin"));
        assert_eq!(check_name("\u{13AA}o"), mixed("Cherokee", "Latin"));
        assert_eq!(check_name("\u{391}-1"), Err(NameError::LooksLatin("Greek")));
        assert_eq!(check_name("\u{440}\u{430}\u{443}"), Err(NameError::LooksLatin("Cyrillic")));
        assert_eq!(check_text("der Zähler Ω war falsch"), Ok(()));
    }

    // These say where the data of UTS #39 and the tables differ.

    fn skeleton(character: char) -> String {
        unicode_security::skeleton(character.encode_utf8(&mut [0; 4])).collect()
    }

    /// The characters that a name may have and of which `wanted` is true, in order.
    fn of_names(wanted: impl Fn(char) -> bool) -> String {
        let all = '\0'..=char::MAX;
        all.filter(|found| is_plain(*found) && !is_look_alike(*found) && wanted(*found)).collect()
    }

    #[test]
    fn nothing_that_uts_39_ignores_is_plain() {
        for character in ('\0'..=char::MAX).filter(|character| is_plain(*character)) {
            let ignored = character.identifier_type() == Some(IdentifierType::Default_Ignorable)
                || skeleton(character).is_empty();
            assert!(!ignored, "U+{:04X}", u32::from(character));
            // Of those it allows only combining marks are refused: it composes before it asks.
            let refused = character.identifier_allowed() && is_look_alike(character);
            assert!(
                !refused || ('\u{300}'..'\u{370}').contains(&character),
                "U+{:04X}",
                u32::from(character)
            );
        }
    }

    #[test]
    fn what_looks_latin_looks_latin_to_uts_39() {
        let looks_latin = |letter| skeleton(letter).bytes().all(|byte| byte.is_ascii_alphabetic());
        assert!(LOOK_LATIN.chars().all(looks_latin));
        let left_out = of_names(|letter| {
            matches!(alphabet(letter), Some("Greek" | "Cyrillic"))
                && looks_latin(letter)
                && !LOOK_LATIN.contains(letter)
        });
        assert_eq!(left_out, "ͿϒϜϭϱϸϹϺЫЮгшѡѴѸѹҮҺҽӔӕԌԚԜ\u{1C82}\u{1C83}\u{1FBE}ꙇꚘꚙ");
    }

    #[test]
    fn alphabets_are_scripts_but_for_these() {
        let other =
            of_names(|letter| alphabet(letter).is_some_and(|name| name != letter.script().full_name()));
        let coptic = "ϢϣϤϥϦϧϨϩϪϫϬϭϮϯ";
        assert_eq!(other, format!("\u{374}{coptic}ᴦᴧᴨᴩᴪᴫᵝᵞᵟᵠᵡᵦᵧᵨᵩᵪᵸᶿ\u{A788}ꭥ"));
        let scripts = ["Latin", "Greek", "Cyrillic", "Armenian", "Cherokee"];
        let none = of_names(|letter| {
            letter.is_alphabetic()
                && alphabet(letter).is_none()
                && scripts.contains(&letter.script().full_name())
        });
        for letter in none.chars() {
            let known = matches!(letter,
                '\u{2E0}'..='\u{2E4}' | '\u{2071}'..='\u{209C}' | '\u{2132}'..='\u{2188}' | '\u{2DE0}'..='\u{2DFF}'
                | '\u{FB13}'..='\u{FB17}' | '\u{10140}'..='\u{10174}' | '\u{10780}'..='\u{107BA}'
                | '\u{1DF00}'..='\u{1DF2A}' | '\u{1E030}'..='\u{1E08F}');
            assert!(known, "U+{:04X} is {}", u32::from(letter), letter.script().full_name());
        }
    }
}
