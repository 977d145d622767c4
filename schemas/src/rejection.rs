//! Why a record is refused.
//!
//! A record is refused only for what can be seen in the record itself. Usage that no meter, price
//! or binding covers is not refused here: it becomes unrated usage at rating, which fixing the
//! catalog repairs.
//!
//! Invariant: reasons are tried in the order of [`Reason`]'s variants, and a record gets the first
//! that applies, whatever its encoding.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A named reason, in order of precedence.
        ///
        /// ```
        /// # use schemas::rejection::Reason;
        /// assert_eq!(Reason::TimeInFuture.as_str(), "time-in-future");
        /// assert_eq!(Reason::parse("time-in-future"), Some(Reason::TimeInFuture));
        /// // A record that is no JSON has no time that could be wrong.
        /// assert!(Reason::JsonInvalid < Reason::TimeInvalid);
        /// assert!(Reason::ALL.is_sorted());
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason, in order of precedence.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name stored in the ledger.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The record has no bytes (a Kafka tombstone too).
    Empty = "empty",
    /// The record is larger than one may be.
    TooLarge = "too-large",
    /// A reader of this program panicked on the record: a defect of the program.
    ReaderFailed = "reader-failed",
    /// The bytes are in no encoding this program reads.
    EncodingUnknown = "encoding-unknown",
    /// Confluent framing names a schema id that the registry does not know.
    SchemaUnknown = "schema-unknown",
    /// The writer's schema cannot be resolved to `usage_event.v1` by Avro's rules.
    SchemaIncompatible = "schema-incompatible",
    /// The bytes are not a datum of the writer's schema.
    AvroInvalid = "avro-invalid",
    /// The bytes are not UTF-8.
    Utf8Invalid = "utf8-invalid",
    /// The text is not JSON (RFC 8259).
    JsonInvalid = "json-invalid",
    /// An object, at any depth, has a name twice (RFC 7493, section 2.3).
    JsonDuplicateName = "json-duplicate-name",
    /// Objects and arrays are nested too deep.
    JsonTooDeep = "json-too-deep",
    /// The JSON is not an object.
    NotAnObject = "not-an-object",
    /// A required attribute is absent, null or empty.
    AttributeMissing = "attribute-missing",
    /// An attribute is of the wrong type, or breaks the rules for names.
    AttributeInvalid = "attribute-invalid",
    /// `specversion` is not 1.0.
    SpecversionUnsupported = "specversion-unsupported",
    /// `datacontenttype` is not JSON.
    ContentTypeUnsupported = "content-type-unsupported",
    /// `time` is not a date, a time and an offset.
    TimeInvalid = "time-invalid",
    /// `time` is more than five minutes after the record was received.
    TimeInFuture = "time-in-future",
    /// `data` is absent or not an object, or a name in it or beside it is nearly one of ours.
    DataInvalid = "data-invalid",
    /// `data.value` is absent, and the event is no void.
    ValueMissing = "value-missing",
    /// `data.value` is not a decimal.
    ValueInvalid = "value-invalid",
    /// `data.value` is negative.
    ValueNegative = "value-negative",
    /// `data.value` has more than 9 digits after the point.
    ValueTooPrecise = "value-too-precise",
    /// `data.value` has more than 19 digits before the point.
    ValueTooLarge = "value-too-large",
    /// `data.dimensions` does not map strings to strings, or one is too long.
    DimensionsInvalid = "dimensions-invalid",
    /// `data.provider`, `location`, `resource` or `producer` is not what the schema says.
    OptionalFieldInvalid = "optional-field-invalid",
    /// `data.correction` is not what the schema says, or the event corrects itself.
    CorrectionInvalid = "correction-invalid",
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A refusal: the reason, and what exactly was found.
///
/// ```
/// # use schemas::rejection::{Reason, Rejection};
/// let rejection = Rejection::new(Reason::AttributeMissing, "subject is missing");
/// assert_eq!(rejection.to_string(), "attribute-missing: subject is missing");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    /// One sentence for a person, without the record's secrets: which field, what was wrong. At
    /// most [`MAX_DETAIL_BYTES`] and an ellipsis.
    pub detail: String,
}

/// The longest detail. It may quote the record, which may be a megabyte of one name.
pub const MAX_DETAIL_BYTES: usize = 1024;

impl Rejection {
    /// A detail that is too long is cut.
    ///
    /// ```
    /// # use schemas::rejection::{Reason, Rejection};
    /// let rejection = Rejection::new(Reason::AttributeInvalid, "x".repeat(2000));
    /// assert_eq!(rejection.detail, format!("{}…", "x".repeat(1024)));
    /// ```
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL_BYTES {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
            detail.push('…');
        }
        Self { reason, detail }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.reason, self.detail)
    }
}
