//! The one SQL function of our own, so that a plan can run on any executor that registers it.
//!
//! It deliberately looks at nothing but its arguments.
//!
//! Invariant: a dimension that an event lacks is NULL; stored dimensions that cannot be read are an
//! error, never NULL.

use arrow::array::{AsArray as _, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
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
        Self { signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable) }
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
        let invalid = |detail: String| datafusion::common::DataFusionError::Execution(detail);
        let [objects, ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))] = arguments.args.as_slice()
        else {
            return Err(invalid("dimension(object, name) needs a literal name".to_owned()));
        };
        let objects = objects.to_array(arguments.number_rows)?;
        let mut values = StringBuilder::new();
        for object in objects.as_string::<i32>() {
            let Some(object) = object else {
                values.append_null();
                continue;
            };
            let dimensions: BTreeMap<String, String> = serde_json::from_str(object).map_err(|error| {
                invalid(format!("stored dimensions are not a JSON object of strings: {error}"))
            })?;
            values.append_option(dimensions.get(name));
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}
