//! The table `unrated`: usage that no price list covers, and why.

use super::columns::Table;
use crate::run::Run;
use arrow::array::Int64Array;
use arrow::datatypes::Field;
use std::sync::Arc;

pub(super) fn table(run: &Run) -> Table {
    let lines = &run.unrated;
    let mut table = Table::default();
    table.text("reason", lines.iter().map(|line| Some(line.key.reason.as_str().to_owned())));
    table.text(
        "provider",
        lines.iter().map(|line| line.key.provider.as_ref().map(schemas::id::ProviderId::to_string)),
    );
    table.text("meter", lines.iter().map(|line| Some(line.key.meter.to_string())));
    table.text("subject", lines.iter().map(|line| Some(line.key.subject.to_string())));
    table.quantity("quantity", lines.iter().map(|line| Some(line.quantity)));
    let events = lines.iter().map(|line| i64::try_from(line.events).expect("fewer than 2^63 events"));
    table.push(
        Field::new("events", arrow::datatypes::DataType::Int64, false),
        Arc::new(Int64Array::from_iter_values(events)),
    );
    table
}
