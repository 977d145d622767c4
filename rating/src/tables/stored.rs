//! Rows of a finished run, read back to be compared with what is rated again.
//!
//! Of a table the ids are read, and then the rows that are wanted; the figures of a row are
//! deliberately not taken from it, only compared.
//!
//! Invariant: rows that pass have the same value in every column of the table.

use super::charges::{ChargeRow, Charges};
use super::columns::{self, Difference, Table};
use super::cost_lines::{CostLineRow, CostLines};
use super::statement_lines::{Corrections, StatementLineRow, StatementLines};
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{Charge, ChargeId, CostLine, CostLineId, PostedLine, RunId, StatementLineId};
use arrow::array::{AsArray as _, RecordBatch};
use bytes::Bytes;
use ledger::Location;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use schemas::id::{ProviderId, SkuId};
use std::collections::BTreeMap;

/// A table of a run.
struct StoredTable {
    location: Location,
    bytes: Bytes,
}

impl StoredTable {
    async fn open<T: Table>(folder: &Location) -> Result<Self, RatingError> {
        let location = folder.join(&format!("{}.parquet", T::NAME));
        let bytes = location.read().await?;
        let gone = || RatingError::file(&location, "reading the table", &"there is no such file");
        Ok(Self { bytes: bytes.ok_or_else(gone)?, location })
    }

    fn failed(&self, error: &impl ToString) -> RatingError {
        RatingError::file(&self.location, "reading the table", error)
    }

    fn reader(&self) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, RatingError> {
        ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone()).map_err(|error| self.failed(&error))
    }

    /// The ids that begin with some digits, and their rows, in the order of the table.
    fn find<T: Table>(&self, digits: &str) -> Result<Vec<(String, usize)>, RatingError> {
        let id = columns::first::<T>();
        let reader = self.reader()?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), [id]);
        let reader = reader.with_projection(mask).with_batch_size(65_536).build();
        let (mut found, mut before) = (Vec::new(), 0);
        for batch in reader.map_err(|error| self.failed(&error))? {
            let batch = batch.map_err(|error| self.failed(&error))?;
            let ids = batch.column_by_name(id).and_then(|ids| ids.as_string_opt::<i32>());
            let ids = ids.ok_or_else(|| self.failed(&format!("there is no column of texts {id}")))?;
            let begins = |(row, id): (usize, Option<&str>)| {
                Some((id.filter(|id| id.starts_with(digits))?.to_owned(), before + row))
            };
            found.extend(ids.iter().enumerate().filter_map(begins));
            before += batch.num_rows();
        }
        Ok(found)
    }

    /// One row, with all its columns.
    fn row(&self, row: usize) -> Result<RecordBatch, RatingError> {
        let selection = RowSelection::from(vec![RowSelector::skip(row), RowSelector::select(1)]);
        let reader = self.reader()?.with_row_selection(selection).build();
        let batch = reader.map_err(|error| self.failed(&error))?.next();
        let batch = batch.ok_or_else(|| self.failed(&format!("there is no row {row}")))?;
        batch.map_err(|error| self.failed(&error))
    }

    /// Compares rows with those of the same ids, in one pass, and says what differs first.
    fn differs<T: Table>(
        &self,
        kind: &str,
        rows: &[(String, T::Row<'_>)],
    ) -> Result<Option<String>, RatingError> {
        let places: BTreeMap<String, usize> = self.find::<T>("")?.into_iter().collect();
        let mut placed = BTreeMap::new();
        for (id, row) in rows {
            match places.get(id) {
                Some(place) => placed.insert(*place, (id, row)),
                None => return Ok(Some(format!("{kind} {id} is not in its table {}", T::NAME))),
            };
        }
        let mut selectors = Vec::new();
        let mut end = 0;
        for place in placed.keys() {
            selectors.extend([RowSelector::skip(place - end), RowSelector::select(1)]);
            end = place + 1;
        }
        let reader = self.reader()?.with_row_selection(RowSelection::from(selectors)).build();
        let mut placed = placed.into_values();
        for batch in reader.map_err(|error| self.failed(&error))? {
            let batch = batch.map_err(|error| self.failed(&error))?;
            for (number, (id, row)) in (0..batch.num_rows()).zip(&mut placed) {
                if let Some(differs) = columns::difference::<T>(row, &batch.slice(number, 1)) {
                    return Ok(Some(differs.words(&format!("{kind} {id}"))));
                }
            }
        }
        match placed.next() {
            None => Ok(None),
            Some((id, _)) => Err(self.failed(&format!("the row of {id} is missing"))),
        }
    }
}

impl Difference {
    fn words(&self, of: &str) -> String {
        let Self { column, stored, rated } = self;
        format!("`{column}` of {of} is {stored} in its tables, and {rated} where it is rated again")
    }
}

/// The charges of a finished run, to be looked through by their ids.
pub struct StoredCharges {
    folder: Location,
    table: StoredTable,
}

impl StoredCharges {
    /// # Errors
    /// When the table is not there or cannot be read.
    pub async fn open(folder: &Location) -> Result<Self, RatingError> {
        Ok(Self { folder: folder.clone(), table: StoredTable::open::<Charges>(folder).await? })
    }

    /// Whether an id begins with some digits, of which there is one at least.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn has(&self, digits: &str) -> Result<bool, RatingError> {
        Ok(!digits.is_empty() && !self.table.find::<Charges>(digits)?.is_empty())
    }

    /// The charge whose id these digits are, or begin unambiguously; its cost line is read too.
    ///
    /// # Errors
    /// [`RatingError::NoSuchCharge`] where there is none, or more than one; or when a table cannot be
    /// read.
    pub async fn find(&self, run: RunId, digits: &str) -> Result<StoredCharge, RatingError> {
        let found = match digits.is_empty() {
            true => Vec::new(),
            false => self.table.find::<Charges>(digits)?,
        };
        let [(id, row)] = found.as_slice() else {
            return Err(RatingError::NoSuchCharge(match found.is_empty() {
                true => format!(
                    "run {run} has no charge {digits:?}; the ids are in charges.parquet, column charge_id"
                ),
                false => {
                    format!("more than one charge of run {run} begins with {digits:?}; give more of the id")
                }
            }));
        };
        let id =
            ChargeId::parse(id).ok_or_else(|| self.table.failed(&format!("{id:?} is not a charge's id")))?;
        let charge = self.table.row(*row)?;
        let of_line = text(&self.table, &charge, "cost_line_id")?;
        let lines = StoredTable::open::<CostLines>(&self.folder).await?;
        let of_id = lines.find::<CostLines>(of_line)?;
        let Some((_, row)) = of_id.first() else {
            return Err(lines.failed(&format!("there is no cost line {of_line:?}, which has charge {id}")));
        };
        let line = lines.row(*row)?;
        let name = |column| text(&lines, &line, column);
        let stored = RatingError::stored("name");
        Ok(StoredCharge {
            run,
            id,
            cost_line: CostLineId::parse(of_line)
                .ok_or_else(|| self.table.failed(&format!("{of_line:?} is not a cost line's id")))?,
            provider: ProviderId::new(name("provider")?).map_err(&stored)?,
            sku: SkuId::new(name("sku")?).map_err(&stored)?,
            charge,
            line,
        })
    }
}

fn text<'b>(table: &StoredTable, rows: &'b RecordBatch, column: &str) -> Result<&'b str, RatingError> {
    let texts = rows.column_by_name(column).and_then(|texts| texts.as_string_opt::<i32>());
    let first = texts.and_then(|texts| texts.iter().flatten().next());
    first.ok_or_else(|| table.failed(&format!("there is no text in column {column}")))
}

/// A charge and its cost line, as the tables of a run have them.
pub struct StoredCharge {
    pub run: RunId,
    pub id: ChargeId,
    pub cost_line: CostLineId,
    pub provider: ProviderId,
    pub sku: SkuId,
    charge: RecordBatch,
    line: RecordBatch,
}

impl StoredCharge {
    /// Compares every figure of the tables with the same charge as it was rated again.
    ///
    /// # Errors
    /// [`RatingError::NotReproduced`] names the first column that differs, and both its values.
    pub(crate) fn compare(
        &self,
        line: &CostLine,
        charge: &Charge,
        catalog: &Catalog,
    ) -> Result<(), RatingError> {
        let of_line = columns::difference::<CostLines>(&CostLineRow::new(line, catalog), &self.line);
        let of_charge = columns::difference::<Charges>(&ChargeRow { line, charge }, &self.charge);
        let of_line = of_line.map(|differs| differs.words(&format!("cost line {}", line.id)));
        let of_charge = of_charge.map(|differs| differs.words(&format!("charge {}", charge.id)));
        match of_charge.or(of_line) {
            None => Ok(()),
            Some(what) => Err(self.not_reproduced(what)),
        }
    }

    pub(crate) fn not_reproduced(&self, what: String) -> RatingError {
        RatingError::NotReproduced { run: self.run.to_string(), what }
    }
}

/// The lines of a finished run by which charges become statements, to be looked through by their ids.
pub struct StoredLines {
    run: RunId,
    cost_lines: StoredTable,
    charges: StoredTable,
    statement_lines: StoredTable,
    corrections: StoredTable,
}

impl StoredLines {
    /// # Errors
    /// When a table is not there or cannot be read.
    pub async fn open(run: RunId, folder: &Location) -> Result<Self, RatingError> {
        Ok(Self {
            run,
            cost_lines: StoredTable::open::<CostLines>(folder).await?,
            charges: StoredTable::open::<Charges>(folder).await?,
            statement_lines: StoredTable::open::<StatementLines>(folder).await?,
            corrections: StoredTable::open::<Corrections>(folder).await?,
        })
    }

    /// The lines whose ids begin with some digits, of which there is one at least.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn find(&self, digits: &str) -> Result<Vec<StatementLineId>, RatingError> {
        if digits.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids = Vec::new();
        for (table, found) in [
            (&self.statement_lines, self.statement_lines.find::<StatementLines>(digits)?),
            (&self.corrections, self.corrections.find::<Corrections>(digits)?),
        ] {
            for (id, _) in found {
                let read = StatementLineId::parse(&id);
                ids.push(read.ok_or_else(|| table.failed(&format!("{id:?} is not a statement line's id")))?);
            }
        }
        Ok(ids)
    }

    /// Compares every figure of the tables with the same lines as they were made again.
    ///
    /// # Errors
    /// [`RatingError::NotReproduced`] names the first column that differs, and both its values.
    pub(crate) fn compare(&self, lines: &[&PostedLine], catalog: &Catalog) -> Result<(), RatingError> {
        let rows_of = |corrections: bool| -> Vec<(String, StatementLineRow<'_>)> {
            let of_table = lines.iter().filter(|line| line.correction.is_some() == corrections);
            of_table.map(|line| (line.id.to_string(), StatementLineRow::new(line, catalog))).collect()
        };
        let (own, corrections) = (rows_of(false), rows_of(true));
        self.reproduces(self.statement_lines.differs::<StatementLines>("statement line", &own)?)?;
        self.reproduces(self.corrections.differs::<Corrections>("correction", &corrections)?)
    }

    /// As [`Self::compare`], of a cost line and charges of it.
    ///
    /// # Errors
    /// As [`Self::compare`].
    pub(crate) fn compare_charges(
        &self,
        line: &CostLine,
        charges: &[&Charge],
        catalog: &Catalog,
    ) -> Result<(), RatingError> {
        let of_line = [(line.id.to_string(), CostLineRow::new(line, catalog))];
        self.reproduces(self.cost_lines.differs::<CostLines>("cost line", &of_line)?)?;
        let charges: Vec<_> =
            charges.iter().map(|charge| (charge.id.to_string(), ChargeRow { line, charge })).collect();
        self.reproduces(self.charges.differs::<Charges>("charge", &charges)?)
    }

    fn reproduces(&self, differs: Option<String>) -> Result<(), RatingError> {
        differs.map_or(Ok(()), |what| Err(self.not_reproduced(what)))
    }

    pub(crate) fn not_reproduced(&self, what: String) -> RatingError {
        RatingError::NotReproduced { run: self.run.to_string(), what }
    }
}
