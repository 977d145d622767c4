//! Questions in SQL about a run and the events behind it: read-only, one statement, bounded.
//!
//! What a query may see are the tables that were registered, and nothing else: no file, no network, no
//! setting. Who may ask is deliberately not known here.
//!
//! Invariant: a query changes nothing, and an answer is whole or an error.

use crate::error::RatingError;
pub use crate::usage::EVENTS;
use crate::usage::{CountedRows, reading};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures::StreamExt as _;
use ledger::Location;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// What a query may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes, before it spills.
    pub memory: usize,
    /// Of the answer.
    pub rows: usize,
}

/// The bytes that an answer may take while it is held.
const ANSWER_BYTES: usize = 1 << 30;
/// The characters of a statement.
const STATEMENT: usize = 100_000;
/// Its words and signs. A chain of so many operators is as deep a tree, which has to fit on a stack.
const TOKENS: usize = 4_000;

/// Tables that can be asked about.
pub struct Tables {
    context: SessionContext,
    limits: Limits,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Tables {
    /// No table yet.
    ///
    /// # Errors
    /// When the engine does not start.
    pub fn new(limits: Limits) -> Result<Self, RatingError> {
        Ok(Self { context: reading(limits.memory)?, limits })
    }

    /// Adds a table that is a Parquet file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn add(&self, name: &str, file: &Location) -> Result<(), RatingError> {
        let url = file.object_url()?;
        if file.disk_path().is_none() {
            self.context.register_object_store(&url, file.objects().clone());
        }
        self.context.register_parquet(name, url.as_str(), ParquetReadOptions::default()).await?;
        Ok(())
    }

    /// Adds the table `events`: the usage events that count, as the ledger has them.
    ///
    /// # Errors
    /// When rows cannot be trusted.
    pub async fn add_events(&self, usage: &CountedRows) -> Result<(), RatingError> {
        self.context.register_table("events", usage.counting_events().await?)?;
        Ok(())
    }

    /// The tables that a statement names, or the reason why it is none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn named_by(&self, sql: &str) -> Result<Vec<String>, RatingError> {
        if sql.len() > STATEMENT {
            return Err(RatingError::Query(format!("the query has more than {STATEMENT} characters")));
        }
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
        let tokens = tokens.map_err(|error| told(ParserError::from(error).into()))?;
        let words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count();
        if words > TOKENS {
            return Err(RatingError::Query(format!(
                "the query has {words} words and signs, and {TOKENS} is the most; ask in several, or join a table"
            )));
        }
        let state = self.context.state();
        let statement = state.sql_to_statement(sql, &datafusion::config::Dialect::Generic).map_err(told)?;
        let tables = state.resolve_table_references(&statement).map_err(told)?;
        Ok(tables.iter().map(|table| table.table().to_owned()).collect())
    }

    /// Answers one statement. It may take for ever, and not give way while it does; whoever asks leaves
    /// it alone then.
    ///
    /// # Errors
    /// Where it is none, would change anything, or takes more than it may.
    pub async fn answer(&self, sql: &str) -> Result<Answer, RatingError> {
        let options =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let rows = self.context.sql_with_options(sql, options).await.map_err(told)?;
        let mut stream = rows.execute_stream().await.map_err(told)?;
        let schema = stream.schema();
        let (mut batches, mut count, mut bytes) = (Vec::new(), 0, 0);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(told)?;
            count += batch.num_rows();
            bytes += batch.get_array_memory_size();
            if count > self.limits.rows {
                return Err(RatingError::Query(format!(
                    "the answer has more than {} rows; add a LIMIT, or give --rows",
                    self.limits.rows
                )));
            }
            if bytes > ANSWER_BYTES {
                return Err(RatingError::Query(format!(
                    "the answer has more than {} MB; ask for less of it",
                    ANSWER_BYTES >> 20
                )));
            }
            batches.push(batch);
        }
        Ok(Answer { schema, batches })
    }
}

/// What is wrong with a query, in the engine's words, without its places in our code.
fn told(error: DataFusionError) -> RatingError {
    let text = error.strip_backtrace();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it cannot be answered");
    RatingError::Query(first.chars().take(1_000).collect())
}

impl Answer {
    /// The names of the columns, each with whether it holds numbers.
    pub fn columns(&self) -> Vec<(String, bool)> {
        let fields = self.schema.fields().iter();
        fields.map(|field| (field.name().clone(), field.data_type().is_numeric())).collect()
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Every value as text, NULL as none, row by row.
    ///
    /// # Errors
    /// Where a value has no text.
    pub fn texts(&self) -> Result<Vec<Vec<Option<String>>>, RatingError> {
        let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
        let mut rows = Vec::with_capacity(self.rows());
        for batch in &self.batches {
            let formatters: Result<Vec<_>, _> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect();
            let formatters = formatters.map_err(DataFusionError::from)?;
            for row in 0..batch.num_rows() {
                let mut texts = Vec::with_capacity(formatters.len());
                for (column, formatter) in batch.columns().iter().zip(&formatters) {
                    let text = match column.is_null(row) {
                        true => None,
                        false => {
                            let text = formatter.value(row).try_to_string().map_err(DataFusionError::from)?;
                            Some(match column.data_type() {
                                DataType::Decimal128(..) | DataType::Decimal256(..) => plain(&text),
                                _ => text,
                            })
                        }
                    };
                    texts.push(text);
                }
                rows.push(texts);
            }
        }
        Ok(rows)
    }

    /// An array of objects. Whole numbers are numbers; decimals, which a reader would take for floats,
    /// are texts.
    ///
    /// # Errors
    /// Where a value has no text.
    pub fn json(&self) -> Result<serde_json::Value, RatingError> {
        let fields = self.schema.fields();
        let rows = self.texts()?.into_iter().map(|row| {
            let members = row.into_iter().zip(fields).map(|(text, field)| {
                let value = match (text, field.data_type()) {
                    (None, _) => serde_json::Value::Null,
                    (Some(text), DataType::Boolean) => (text == "true").into(),
                    (Some(text), kind) if kind.is_integer() => {
                        text.parse::<i64>().map_or_else(|_| text.clone().into(), Into::into)
                    }
                    (Some(text), _) => text.into(),
                };
                (field.name().clone(), value)
            });
            serde_json::Value::Object(members.collect())
        });
        Ok(rows.collect())
    }

    /// A Parquet file.
    ///
    /// # Errors
    /// Where a column has no type there.
    pub fn parquet(&self) -> Result<Vec<u8>, RatingError> {
        let level = ZstdLevel::try_new(3).expect("3 is a level");
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(properties))
            .map_err(DataFusionError::from)?;
        for batch in &self.batches {
            writer.write(batch).map_err(DataFusionError::from)?;
        }
        Ok(writer.into_inner().map_err(DataFusionError::from)?)
    }
}

/// A decimal without the zeros at its end, as everything else of ours writes it.
fn plain(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}
