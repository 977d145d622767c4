//! Columns of one table, and the Parquet bytes that they become.
//!
//! Invariant: equal columns give equal bytes.

use crate::run::{CostLine, ENGINE_VERSION};
use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use schemas::decimal::{Amount, QuantityTotal};
use schemas::id::CustomerId;
use schemas::time::Instant;
use std::sync::Arc;

/// Columns of one table, in the order they are added.
#[derive(Default)]
pub(super) struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    pub(super) fn push(&mut self, field: Field, column: ArrayRef) {
        self.fields.push(field);
        self.columns.push(column);
    }

    /// provider, billing_account, sub_account, sku, charge_period_start, charge_period_end,
    /// currency.
    pub(super) fn key_columns(&mut self, lines: &[&CostLine]) {
        self.text("provider", lines.iter().map(|line| Some(line.key.provider.to_string())));
        self.text("billing_account", lines.iter().map(|line| Some(line.key.billing_account.to_string())));
        self.text(
            "sub_account",
            lines.iter().map(|line| line.key.sub_account.as_ref().map(CustomerId::to_string)),
        );
        self.text("sku", lines.iter().map(|line| Some(line.key.sku.to_string())));
        self.instant("charge_period_start", lines.iter().map(|line| line.key.charge_period.start()));
        self.instant("charge_period_end", lines.iter().map(|line| line.key.charge_period.end()));
        self.text("currency", lines.iter().map(|line| Some(line.currency.to_string())));
    }

    pub(super) fn text(&mut self, name: &str, values: impl Iterator<Item = Option<String>>) {
        let values: StringArray = values.collect();
        self.push(Field::new(name, arrow::datatypes::DataType::Utf8, true), Arc::new(values));
    }

    pub(super) fn instant(&mut self, name: &str, values: impl Iterator<Item = Instant>) {
        let values =
            TimestampMicrosecondArray::from_iter_values(values.map(Instant::micros)).with_timezone("UTC");
        self.push(Field::new(name, ledger::row::ColumnType::Instant.arrow(), false), Arc::new(values));
    }

    pub(super) fn amount(&mut self, name: &str, values: impl Iterator<Item = Amount>) {
        self.decimal(name, 18, values.map(|amount| Some(amount.units())));
    }

    pub(super) fn quantity(&mut self, name: &str, values: impl Iterator<Item = Option<QuantityTotal>>) {
        self.decimal(name, 9, values.map(|quantity| quantity.map(QuantityTotal::units)));
    }

    fn decimal(&mut self, name: &str, scale: i8, values: impl Iterator<Item = Option<i128>>) {
        let values: Decimal128Array = values.collect();
        let values = values
            .with_precision_and_scale(38, scale)
            .expect("38 digits with that scale is a valid decimal type");
        self.push(
            Field::new(name, arrow::datatypes::DataType::Decimal128(38, scale), true),
            Arc::new(values),
        );
    }

    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, arrow::array::Array::len)
    }

    pub(super) fn to_parquet(&self) -> Vec<u8> {
        let schema: SchemaRef = Arc::new(Schema::new(self.fields.clone()));
        let rows = RecordBatch::try_new(schema.clone(), self.columns.clone())
            .expect("every column has a value or NULL for each line");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a zstd level")))
            .set_created_by(format!("atcost {ENGINE_VERSION}"))
            .build();
        let mut buffer = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut buffer, schema, Some(properties))
            .expect("every column type is writable as Parquet");
        writer.write(&rows).expect("writing to memory cannot fail");
        writer.close().expect("writing to memory cannot fail");
        buffer
    }
}
