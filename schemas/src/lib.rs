//! The values of this workspace: names, time, exact numbers, usage events, rejections, positions.
//!
//! Everything here is a value. There is no I/O, no clock, no async and no other crate of ours, so
//! that every other crate, and anyone who writes a second implementation, can agree on these types
//! without agreeing on anything else.
//!
//! Invariant: a value that exists is valid. Constructors check; fields that could break a rule are
//! private.

// Modules in reading order.
pub mod boundary; // where a panic of a reader ends
pub mod decimal; // Quantity, UnitPrice, Amount: exact, ranged, no float
mod decimal96; // quantities and prices to and from rust_decimal
pub mod digest; // Sha256Digest
pub mod name; // when a text is a name: what can be seen, and told from other names by eye
pub mod id; // MeterType, Subject, ProviderId, CustomerId, SkuId, InvoiceId
pub mod money; // Currency and Money in minor units
pub mod time; // Instant, Period [start, end), BillingMonth
pub mod canonical; // the bytes that are hashed, written and read
pub mod event; // EventRef, its correction and producer sequence
pub mod rejection; // why a record is refused, in order of precedence
pub mod position; // Stream, Offset, NextOffset, Positions
pub mod shard; // which of several writers reads a stream
pub mod outcome; // usage, rejected or a gap: what became of a record
pub mod invoice; // what a provider's invoice says, line by line
pub mod invoice_mapping; // what the columns of an invoice's file mean
pub mod focus; // the columns of FOCUS, by version

/// The Avro schema producers write, version 1.
pub const USAGE_EVENT_V1_AVSC: &str = include_str!("../usage_event.v1.avsc");
