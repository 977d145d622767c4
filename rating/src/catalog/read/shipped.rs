//! The formats of invoices, and those of them that ship with the binary.
//!
//! A format that ships is an invoice.toml like any other, without prices, accounts or policies. It is
//! deliberately not code.
//!
//! Invariant: every text here is read without a problem.

use crate::words::words;

words! {
    /// What invoices of a provider are.
    pub(super) enum Format {
        Focus = "focus",
        AwsCur = "aws-cur",
        Azure = "azure",
        Gcp = "gcp",
        Oci = "oci",
        /// Only what the catalog says.
        Csv = "csv",
        En16931 = "en16931",
    }
}

impl Format {
    /// The text that says what its columns and units mean; of `en16931` its units alone.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::Focus => Some(include_str!("mappings/focus.toml")),
            Self::AwsCur => Some(include_str!("mappings/aws-cur.toml")),
            Self::Azure => Some(include_str!("mappings/azure.toml")),
            Self::Gcp => Some(include_str!("mappings/gcp.toml")),
            Self::Oci => Some(include_str!("mappings/oci.toml")),
            Self::Csv => None,
            Self::En16931 => Some(include_str!("mappings/en16931.toml")),
        }
    }
}
