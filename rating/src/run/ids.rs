//! The ids of a run and of its lines: the beginning of a SHA-256 over what they name.
//!
//! Nothing is looked up by them here, and nothing in them is random.
//!
//! Invariant: an id is a function of what it names. A line has the same id in every run that has
//! it.

use crate::statement::{Biller, Line};
use schemas::digest::Sha256Digest;
use schemas::id::{CustomerId, InvoiceId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $Name:ident: $bytes:literal bytes;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name([u8; $bytes]);

        impl $Name {
            /// The beginning of the digest.
            pub(super) fn of(digest: Sha256Digest) -> Self {
                let mut id = [0; $bytes];
                id.copy_from_slice(&digest.as_bytes()[..$bytes]);
                Self(id)
            }

            /// Reads all of its lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                if text.len() != 2 * $bytes || !text.as_bytes().iter().all(digits) {
                    return None;
                }
                let mut id = [0; $bytes];
                for (index, byte) in id.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
                }
                Some(Self(id))
            }

            /// Whether these are its first digits.
            pub fn begins_with(self, digits: &str) -> bool {
                self.to_string().starts_with(digits)
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    )+};
}

ids! {
    /// A run: 16 hexadecimal digits, a function of its pins.
    RunId: 8 bytes;
    /// A cost line: 32 hexadecimal digits.
    CostLineId: 16 bytes;
    /// A charge: 32 hexadecimal digits.
    ChargeId: 16 bytes;
    /// A statement line: 32 hexadecimal digits.
    StatementLineId: 16 bytes;
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not the id of a run")))
    }
}

/// What the ids of the lines that share an item follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemId {
    /// What a cost line settles at.
    CostLine(CostLineId),
    /// The part of an invoice that falls to a cost line.
    Part(CostLineId, InvoiceId),
    /// The part of an invoice that no cost line is of.
    Row(StatementLineId),
}

impl ItemId {
    /// The id of a line.
    pub fn line(&self, line: &Line) -> StatementLineId {
        let (item, invoice) = match self {
            Self::CostLine(id) => (id.to_string(), None),
            Self::Part(id, invoice) => (id.to_string(), Some(invoice)),
            Self::Row(id) => (id.to_string(), None),
        };
        let mut parts = vec!["statement line", &item, line.customer.as_ref().map_or("", CustomerId::as_str)];
        if let Biller::Partner(partner) = &line.biller {
            parts.extend(["biller", partner.as_str()]);
        }
        if let Some(grant) = &line.grant {
            parts.extend(["grant", grant.as_str()]);
        }
        if let Some(invoice) = invoice {
            parts.extend(["invoice", invoice.as_str()]);
        }
        // A cost line has one share of nobody's; what no cost line is of may have one for each reason.
        if let (Self::Row(_), None, Some(reason)) = (self, &line.customer, line.kind.retained_reason()) {
            parts.extend(["retained", reason.as_str()]);
        }
        StatementLineId::of(digest_of(&parts))
    }
}

/// The digest of texts, each told from its neighbours.
pub(super) fn digest_of(parts: &[&str]) -> Sha256Digest {
    let mut bytes = Vec::new();
    for part in parts {
        schemas::canonical::push_text(&mut bytes, part);
    }
    Sha256Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_digits() {
        let id = ChargeId::of(digest_of(&["charge", "a", "b"]));
        let text = id.to_string();
        assert_eq!((text.len(), ChargeId::parse(&text)), (32, Some(id)));
        assert!(id.begins_with(&text[..5]) && id.begins_with("") && !id.begins_with("x"));
        for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), &"ü".repeat(16), ""] {
            assert_eq!(ChargeId::parse(wrong), None, "{wrong}");
        }
        assert_ne!(id, ChargeId::of(digest_of(&["charge", "ab", ""])));
    }
}
