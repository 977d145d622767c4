//! Names of things. Each kind of name is its own type, so that a subject cannot be passed for a
//! customer.
//!
//! When a text is a name is said by [`crate::name`]; whether there is anything of that name, by the
//! catalog.
//!
//! Invariant: a value that exists obeys [`check_name`].

use crate::name::{NameError, check_name};
use std::fmt;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, like $example:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// ```
        #[doc = concat!("# use schemas::id::", stringify!($name), ";")]
        #[doc = concat!("let name = ", stringify!($name), "::new(", stringify!($example), ").expect(\"a name\");")]
        #[doc = concat!("assert_eq!(name.to_string(), ", stringify!($example), ");")]
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// ```
            #[doc = concat!("# use schemas::{id::", stringify!($name), ", name::NameError};")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::new(\" a1\"), Err(NameError::OuterSpace));")]
            /// ```
            ///
            /// # Errors
            /// The first rule of [`crate::name`] that `text` breaks.
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
    MeterType, like "compute.example/instance-hours";
    /// CloudEvents `subject`: what was used, a project or a resource; never who pays.
    Subject, like "projects/a1";
    /// The company that provides the service and bills the operator.
    ProviderId, like "nimbus";
    /// The company that is billed by the operator.
    CustomerId, like "acme";
    /// The thing that a provider puts a price on (FOCUS `SkuId`).
    SkuId, like "std-4";
    /// The operator's account with a provider (FOCUS `BillingAccountId`).
    BillingAccountId, like "0042-17";
    /// An invoice of a provider, by the number that the provider gave it (FOCUS `InvoiceId`).
    InvoiceId, like "NB-2025-0815";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::MAX_BYTES;

    #[test]
    fn an_id_is_a_name() {
        assert_eq!(Subject::new("projects/a1").expect("a name").to_string(), "projects/a1");
        assert_eq!(Subject::new(""), Err(NameError::Empty));
        assert_eq!(Subject::new("x".repeat(MAX_BYTES + 1)), Err(NameError::TooLong));
        assert_eq!(Subject::new(" a"), Err(NameError::OuterSpace));
        assert_eq!(Subject::new("a "), Err(NameError::OuterSpace));
    }
}
