//! Invoices of providers: from a file, in whatever shape, to lines.
//!
//! A file is read with a mapping, record by record, and refused as a whole where any of it cannot be
//! read. What its texts mean, and what its lines are compared with, is deliberately not known here.
//!
//! Invariant: the same file, mapping, issuer and options give the same invoices.

// Modules in reading order.
mod error; // why a file is no invoice, and where
mod given; // whose it is, and what an operator says of it
mod headers; // which columns are wanted, and which headers they are
mod numbers; // from digits, with a file's marks
mod dates; // days and instants
mod record; // one record, as far as it is wanted
mod text; // bytes to text, as far as it is read
mod csv; // records of CSV
mod jsonl; // records of JSON lines
mod parquet; // records of Parquet
mod plan; // a mapping, as it is applied
mod credits; // Google's list within a record
mod lines; // a record to lines
mod totals; // stated totals against sums
mod report; // what whoever imports should know
mod invoices; // lines gathered into invoices
pub mod en16931; // electronic invoices of the European norm

pub use error::InvoiceError;
pub use given::{Issuer, Options};
pub use invoices::ImportedInvoice;
pub use lines::Remark;
pub use report::{FileReport, Places, Report, Sum, TextSum, accounts, skus, sums};

use self::invoices::Invoices;
use self::lines::{Found, Reader};
use self::plan::Plan;
use self::record::Record;
use self::text::Text;
use ::bytes::Bytes;
use schemas::invoice_mapping::{Column, ColumnMapping};
use std::io::Read;

/// The largest Parquet file, which is needed as a whole, and the most that a compressed one expands to.
const MAX_PARQUET: u64 = 2 << 30;
const MAX_PARQUET_EXPANDED: u64 = 256 << 20;

/// How a file is written, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Csv,
    JsonLines,
    Parquet,
}

/// Reads the invoices of a file: `.csv`, `.jsonl` or `.parquet`, also with `.gz` after it. Their
/// `version` is 1, until whoever knows the journal says which it is.
///
/// Text is read as it comes, so that a million lines take some seconds and about 350 MiB, however
/// long they are. Parquet is held as a whole.
///
/// # Errors
/// The first thing that cannot be read, with its record and column.
pub fn import(
    name: &str,
    input: impl Read,
    mapping: &ColumnMapping,
    issuer: &Issuer,
    options: &Options,
) -> Result<Vec<ImportedInvoice>, InvoiceError> {
    read(name, input, mapping, issuer, options).map_err(|error| error.in_file(name))
}

fn read(
    name: &str,
    input: impl Read,
    mapping: &ColumnMapping,
    issuer: &Issuer,
    options: &Options,
) -> Result<Vec<ImportedInvoice>, InvoiceError> {
    let (written, gzip) = written(name)?;
    let plan = Plan::new(mapping);
    let mut reader = Reader::new(&plan, mapping, issuer);
    let mut invoices = Invoices::new(issuer, options, plan.label(None, Column::Invoice));
    let (mut blank, mut skipped) = (0, 0);
    let mut each = |record: &Record| match reader.read(record)? {
        Found::Nothing => {
            blank += 1;
            Ok(())
        }
        Found::Skipped => {
            skipped += 1;
            Ok(())
        }
        Found::Total { currency, amount } => {
            let invoice = plan.value(None, Column::Invoice, record);
            let invoice = invoice.as_ref().map(|value| value.text.as_ref());
            let column = plan.label(None, Column::Amount);
            invoices.add_total(record, invoice, reader.month(record)?, currency, amount, column)
        }
        Found::Lines(drafts) => {
            let invoice = plan.value(None, Column::Invoice, record);
            let invoice = invoice.as_ref().map(|value| value.text.as_ref());
            invoices.add(record, invoice, reader.month(record)?, &reader.remarks, drafts)
        }
    };
    let mut each = |record: &Record| each(record).map_err(|error| record.refuse(error));
    let check = |has: &[bool]| plan.check(has);
    let file = &mapping.file;
    let (kind, shape) = match written {
        Written::Csv => {
            let text = Text::new(input, gzip, file.encoding);
            ("csv", csv::read(text, file.delimiter, file.header.as_deref(), &plan.wanted, check, &mut each)?)
        }
        Written::JsonLines => {
            let text = Text::new(input, gzip, file.encoding);
            ("jsonl", jsonl::read(text, &plan.wanted, &mut each)?)
        }
        Written::Parquet => ("parquet", parquet::read(whole(input, gzip)?, &plan.wanted, check, &mut each)?),
    };
    let file = FileReport {
        name: name.into(),
        kind,
        records: shape.records,
        blank,
        skipped,
        fields_missing: shape.fields_missing,
        absent: plan.absent(&shape.has),
    };
    let mut imported = invoices.finish()?;
    imported.iter_mut().for_each(|imported| imported.report.file = file.clone());
    Ok(imported)
}

fn written(name: &str) -> Result<(Written, bool), InvoiceError> {
    let lower = name.to_ascii_lowercase();
    let (plain, gzip) = lower.strip_suffix(".gz").map_or((lower.as_str(), false), |plain| (plain, true));
    let written = match plain.rsplit_once('.').map(|(_, end)| end) {
        Some("csv") => Written::Csv,
        Some("jsonl") => Written::JsonLines,
        Some("parquet") => Written::Parquet,
        _ => {
            return Err(InvoiceError::new(
                "what it is is told by its name, which must end in .csv, .jsonl or .parquet, or in one of these and .gz",
            ));
        }
    };
    Ok((written, gzip))
}

fn whole(input: impl Read, gzip: bool) -> Result<Bytes, InvoiceError> {
    let most = if gzip { MAX_PARQUET_EXPANDED } else { MAX_PARQUET };
    let mut bytes = Vec::new();
    let read = text::expanded(input, gzip).take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| text::not_read(&error, gzip))?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > most) {
        return Err(text::too_large(most));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
