//! The SQL function that looks into an event's dimensions.
//!
//! It deliberately looks at nothing but its arguments.
//!
//! Invariant: a dimension that an event lacks is NULL; stored dimensions that cannot be read are an
//! error, never NULL.

use arrow::array::{Array as _, ArrayRef, AsArray as _, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// SQL `dimension(dimensions, name)`: the value of a dimension in a row's JSON object, NULL where
/// it has none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Dimension {
    signature: Signature,
}

impl Dimension {
    pub(super) fn new() -> Self {
        let texts = |kind: DataType| TypeSignature::Exact(vec![kind, DataType::Utf8]);
        let signature =
            Signature::one_of(vec![texts(DataType::Utf8View), texts(DataType::Utf8)], Volatility::Immutable);
        Self { signature }
    }
}

impl ScalarUDFImpl for Dimension {
    fn name(&self) -> &'static str {
        "dimension"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let invalid = DataFusionError::Execution;
        let [objects, ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))] = arguments.args.as_slice()
        else {
            return Err(invalid("dimension(object, name) needs a literal name".to_owned()));
        };
        let objects = objects.to_array(arguments.number_rows)?;
        let mut values = StringBuilder::new();
        // Few events have dimensions that no other one has.
        let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for object in texts(&objects) {
            let Some(object) = object else {
                values.append_null();
                continue;
            };
            if !known.contains_key(object) {
                let mut dimensions = read(object).map_err(invalid)?;
                known.insert(object, dimensions.remove(name));
            }
            values.append_option(known[object].as_ref());
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}

/// The dimensions of an event, as they are stored.
///
/// # Errors
/// A sentence that says why they cannot be read.
pub(super) fn read(object: &str) -> Result<BTreeMap<String, String>, String> {
    serde_json::from_str(object)
        .map_err(|error| format!("stored dimensions are not a JSON object of strings: {error}"))
}

fn texts(column: &ArrayRef) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
    match column.data_type() {
        DataType::Utf8View => Box::new(column.as_string_view().iter()),
        _ => Box::new(column.as_string::<i32>().iter()),
    }
}
