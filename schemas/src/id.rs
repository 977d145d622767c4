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
    match text.chars().find(|character| is_forbidden(*character)) {
        Some(character) => Err(NameError::ForbiddenCharacter(u32::from(character))),
        None => Ok(()),
    }
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
    /// CloudEvents `source`: who reports.
    EventSource;
    /// CloudEvents `id`: unique within its source, for ever.
    EventId;
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

/// What names an event for ever: CloudEvents `source` + `id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub source: EventSource,
    pub id: EventId,
}

impl fmt::Display for EventKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.source, self.id)
    }
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
        assert_eq!(Subject::new("x".repeat(MAX_BYTES + 1)), Err(NameError::TooLong));
    }
}
