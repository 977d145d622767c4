//! Names of things. Each kind of name is its own type, so that a subject cannot be passed for a customer.
//!
//! Rules (CloudEvents 1.0.2, "Type System", String): not empty, at most [`MAX_BYTES`] bytes of UTF-8, no control characters, no
//! noncharacters; and, of our own, no bidirectional controls, which would let one name be shown as another. Names compare byte for byte; nothing is folded or normalised.

use std::fmt;

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
}

/// Checks the rules every name obeys.
///
/// # Errors
/// The first rule that `text` breaks.
pub fn check_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(NameError::TooLong);
    }
    if is_printable_ascii(text.as_bytes()) {
        return Ok(());
    }
    match text.chars().find(|character| is_forbidden(*character)) {
        Some(character) => Err(NameError::ForbiddenCharacter(u32::from(character))),
        None => Ok(()),
    }
}

/// Nearly every name is; and that is seen eight bytes at a time.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A byte's high bit is set where it is no ASCII, below a blank, or DEL. No byte borrows or carries into the next.
    let outside = |eight: u64| (eight | (eight & !HIGH).wrapping_add(ONES) | !((eight | HIGH).wrapping_sub(ONES * 0x20))) & HIGH;
    let (eights, rest) = bytes.as_chunks::<8>();
    let found = eights.iter().fold(0, |found, eight| found | outside(u64::from_le_bytes(*eight)));
    found == 0 && rest.iter().all(|byte| matches!(byte, 0x20..=0x7E))
}

fn is_forbidden(character: char) -> bool {
    let noncharacter = matches!(character, '\u{FDD0}'..='\u{FDEF}') || u32::from(character) & 0xFFFE == 0xFFFE;
    character.is_control()
        || noncharacter
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// # Errors
            /// The first rule of this module that `text` breaks.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, NameError> {
                let text = text.into();
                check_name(&text)?;
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    )*};
}

names! {
    /// CloudEvents `type`: the meter.
    MeterType;
    /// CloudEvents `subject`: what was used, a project or a resource; never who pays.
    Subject;
    /// Who provides the service and bills the operator.
    ProviderId;
    /// Who is billed by the operator.
    CustomerId;
    /// What a provider puts a price on (FOCUS `SkuId`).
    SkuId;
    /// The operator's account with a provider (FOCUS `BillingAccountId`).
    BillingAccountId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_printable() {
        assert!(Subject::new("projects/a1").is_ok());
        assert!(Subject::new("projekte/größe 3").is_ok());
        assert_eq!(Subject::new(""), Err(NameError::Empty));
        assert_eq!(Subject::new("a\0b"), Err(NameError::ForbiddenCharacter(0)));
        assert_eq!(Subject::new("a\u{202E}b"), Err(NameError::ForbiddenCharacter(0x202E)));
        assert_eq!(Subject::new("a\u{FFFF}"), Err(NameError::ForbiddenCharacter(0xFFFF)));
        // Wherever in a long name a character stands, and beside whatever it stands.
        for forbidden in ['\0', '\u{1F}', '\u{7F}', '\u{85}', '\u{2028}'] {
            for before in 0..20 {
                for beside in [" ", "~", "ü"] {
                    let name = format!("{}{forbidden}{}", beside.repeat(before), beside.repeat(12));
                    assert_eq!(check_name(&name), Err(NameError::ForbiddenCharacter(u32::from(forbidden))), "{name:?}");
                }
            }
        }
        assert_eq!(check_name(&" ~".repeat(20)), Ok(()));
        assert_eq!(Subject::new("x".repeat(MAX_BYTES + 1)), Err(NameError::TooLong));
    }
}
