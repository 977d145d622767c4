//! The SQL function that makes a number of an event's name, so that names can be compared cheaply.
//!
//! It deliberately promises nothing but that equal names have equal numbers: whoever groups by it
//! compares the names of a group.
//!
//! Invariant: the number of a name is the same on every machine and for ever.

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::sync::Arc;

/// SQL `event_key(source, id)`: 64 bits of the two texts, NULL where one is missing.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct EventKey {
    signature: Signature,
}

impl EventKey {
    pub(super) fn new() -> Self {
        let texts = |kind: DataType| datafusion::logical_expr::TypeSignature::Exact(vec![kind.clone(), kind]);
        let signature =
            Signature::one_of(vec![texts(DataType::Utf8View), texts(DataType::Utf8)], Volatility::Immutable);
        Self { signature }
    }
}

/// The hash of a source: the secret under which its ids are hashed, which says where the one text
/// ends and the other begins.
fn source_key(source: &str) -> u64 {
    SipHasher13::new().hash(source.as_bytes())
}

fn event_key(source: u64, id: &str) -> i64 {
    SipHasher13::new_with_keys(source, 0).hash(id.as_bytes()).cast_signed()
}

impl ScalarUDFImpl for EventKey {
    fn name(&self) -> &'static str {
        "event_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let [sources, ids] = arguments.args.as_slice() else {
            return Err(DataFusionError::Execution("event_key takes a source and an id".to_owned()));
        };
        let (sources, ids) = (sources.to_array(arguments.number_rows)?, ids.to_array(arguments.number_rows)?);
        let keys = match (sources.data_type(), ids.data_type()) {
            (DataType::Utf8View, DataType::Utf8View) => of_views(&sources, &ids),
            _ => {
                let pairs = sources.as_string::<i32>().iter().zip(ids.as_string::<i32>());
                pairs.map(|(source, id)| Some(event_key(source_key(source?), id?))).collect()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(keys)))
    }
}

/// Sources are few: each is hashed once in a batch, and known again by its view.
fn of_views(sources: &ArrayRef, ids: &ArrayRef) -> Int64Array {
    let (sources, ids) = (sources.as_string_view(), ids.as_string_view());
    let mut known: BTreeMap<u128, u64> = BTreeMap::new();
    let key = |row: usize| {
        if sources.is_null(row) || ids.is_null(row) {
            return None;
        }
        let source = *known.entry(sources.views()[row]).or_insert_with(|| source_key(sources.value(row)));
        Some(event_key(source, ids.value(row)))
    };
    (0..sources.len()).map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_and_tells_the_two_texts_apart() {
        let key = |source: &str, id: &str| event_key(source_key(source), id);
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_ne!(key("", "a"), key("a", ""));
        assert_eq!(key("//edge", "e-1"), key("//edge", "e-1"));
    }
}
