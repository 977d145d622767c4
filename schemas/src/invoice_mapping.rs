//! What the columns of an invoice's file mean.
//!
//! A mapping is read out of a catalog, or ships with the binary, and is applied where files are read;
//! both are deliberately elsewhere.
//!
//! Invariant: a mapping that exists has a source for amounts, and one for currencies.

use crate::invoice::LineCategory;
use std::collections::BTreeMap;

/// How a provider's invoices are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// Records of columns: `.csv`, `.jsonl`, `.parquet`.
    Columns(Box<ColumnMapping>),
    /// The European norm for electronic invoices, as UBL or CII.
    En16931,
}

/// Which column says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMapping {
    /// The word of `format`, for people.
    pub name: Box<str>,
    pub file: FileFormat,
    pub columns: BTreeMap<Column, Vec<Source>>,
    /// The first that fits says what a record is; one that fits none is usage.
    pub rows: Vec<RowRule>,
    pub more: Vec<More>,
    /// Google's list of credits within a record, each a line of its own.
    pub credits: Option<Box<str>>,
}

/// What a column of ours is called in `[columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    Invoice,
    Month,
    LineId,
    BillingAccount,
    SubAccount,
    Sku,
    Description,
    Start,
    End,
    Quantity,
    Unit,
    UnitPrice,
    Amount,
    Currency,
}

impl Column {
    pub const ALL: [Self; 14] = [
        Self::Invoice,
        Self::Month,
        Self::LineId,
        Self::BillingAccount,
        Self::SubAccount,
        Self::Sku,
        Self::Description,
        Self::Start,
        Self::End,
        Self::Quantity,
        Self::Unit,
        Self::UnitPrice,
        Self::Amount,
        Self::Currency,
    ];

    /// The key of `[columns]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Month => "month",
            Self::LineId => "line_id",
            Self::BillingAccount => "billing_account",
            Self::SubAccount => "sub_account",
            Self::Sku => "sku",
            Self::Description => "description",
            Self::Start => "start",
            Self::End => "end",
            Self::Quantity => "quantity",
            Self::Unit => "unit",
            Self::UnitPrice => "unit_price",
            Self::Amount => "amount",
            Self::Currency => "currency",
        }
    }
}

/// Where a value is: a column, or a text that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(pub Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(Box<str>),
    /// A column of the file, by its header.
    Column(Box<str>),
}

/// What a record is, where each of these columns has one of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRule {
    pub when: BTreeMap<Box<str>, Vec<Box<str>>>,
    pub is: RowKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    Line(LineCategory),
    /// The stated total of its currency.
    Total,
    Skip,
}

/// A second line from the same record, where its amount is not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct More {
    /// What differs from the first line.
    pub columns: BTreeMap<Column, Vec<Source>>,
    pub is: LineCategory,
}

/// How the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFormat {
    pub encoding: Encoding,
    pub delimiter: char,
    /// A column of the header, where other records of a text are above it.
    pub header: Option<Box<str>>,
    /// The decimal mark.
    pub decimal: char,
    /// Between groups of three digits; none where there is none.
    pub thousands: Option<char>,
    pub date: DateFormat,
    pub end: LineEnd,
    /// Whether dates without a time are midnights in UTC, as in FOCUS and CUR, and not the provider's.
    pub dates_in_utc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16,
    Latin1,
    Windows1252,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DateFormat {
    /// ISO 8601.
    Iso,
    /// As `strptime` has it.
    Pattern(Box<str>),
    /// As `strptime` has it, or else in ISO 8601.
    PatternOrIso(Box<str>),
}

/// What the end of a line's period says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// The first instant after it.
    Exclusive,
    /// Its last day.
    Inclusive,
    /// There is none; a line covers the day that it starts on.
    Day,
}
