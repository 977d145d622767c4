//! One record of a file, as the readers of all formats hand it out.
//!
//! It says where a record is and how it is encoded, not what it says.

use crate::decode::KEPT_BYTES;
use crate::schema::WriterSchema;
use schemas::rejection::{Reason, Rejection};
use std::sync::Arc;

/// How a record of a file is encoded; or why it is refused.
pub enum Content {
    Json,
    Avro(Arc<WriterSchema>),
    Refused(Rejection),
}

/// One record of a file, or the news that the rest cannot be read.
pub struct Item {
    pub offset: i64,
    /// The offset after it, further than one where records in between cannot be read.
    pub next: i64,
    pub value: Vec<u8>,
    pub content: Content,
}

impl Item {
    pub fn record(offset: i64, value: Vec<u8>, content: Content) -> Self {
        Self { offset, next: offset + 1, value, content }
    }

    /// The rest of a file that cannot be read on; `value` is the beginning of it.
    pub fn broken(offset: i64, mut value: Vec<u8>, reason: Reason, detail: String) -> Self {
        value.truncate(KEPT_BYTES);
        Self { offset, next: offset + 1, value, content: Content::Refused(Rejection::new(reason, detail)) }
    }
}

/// The news that a file cannot be read, or nothing more.
pub struct Last(pub Option<Item>);

impl Records for Last {
    fn next(&mut self) -> Option<Item> {
        self.0.take()
    }
}

/// Reads the records of one file. After `None` there is nothing more.
pub trait Records: Send {
    fn next(&mut self) -> Option<Item>;
}
