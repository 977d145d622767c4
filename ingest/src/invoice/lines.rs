//! A mapping applied to a record: nothing, a stated total, or lines.
//!
//! Which invoice a line belongs to, and what its month is, is deliberately decided elsewhere.
//!
//! Invariant: a line has an amount and a currency, or its file is refused.

use super::credits;
use super::dates::{Dates, NamedMonth, When};
use super::error::{InvoiceError, quoted};
use super::given::Issuer;
use super::numbers::{self, Marks};
use super::plan::{Columns, Plan, Value};
use super::record::{Kind, Record};
use schemas::decimal::Amount;
use schemas::invoice::LineCategory;
use schemas::invoice_mapping::{Column, ColumnMapping, LineEnd, RowKind};
use schemas::money::Currency;
use schemas::time::Instant;
use std::collections::HashSet;
use std::sync::Arc;

/// The longest text of a line.
const MAX_TEXT: usize = 16 << 10;
/// What all texts of a file may take together.
const MAX_TEXTS: usize = 512 << 20;
/// Texts that are looked for among those before; more differ so much that sharing saves nothing.
const MAX_SHARED: usize = 1 << 16;

/// A line before it belongs to an invoice.
#[derive(Debug)]
pub struct Draft {
    pub line_id: Option<Arc<str>>,
    pub billing_account: Option<Arc<str>>,
    pub sub_account: Option<Arc<str>>,
    pub sku_text: Option<Arc<str>>,
    pub description: Option<Arc<str>>,
    pub category: LineCategory,
    pub start: Option<Instant>,
    pub end: Option<Instant>,
    pub quantity: Option<Amount>,
    pub unit: Option<Arc<str>>,
    pub unit_price: Option<Amount>,
    pub amount: Amount,
    pub currency: Currency,
}

/// What a record is.
#[derive(Debug)]
pub enum Found {
    Nothing,
    Skipped,
    Total { currency: Currency, amount: Amount },
    Lines(Vec<Draft>),
}

/// Something that was read as meant, and is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// Digits past the 18th decimal.
    Rounded,
    /// A binary floating-point number.
    Double,
    /// A date and a time without a zone.
    Zoneless,
}

pub struct Reader<'a> {
    pub plan: &'a Plan,
    mapping: &'a ColumnMapping,
    dates: Dates<'a>,
    account: Arc<str>,
    known: HashSet<Arc<str>>,
    bytes: usize,
    /// Of the last record, with the column's name in the file.
    pub remarks: Vec<(Remark, String)>,
}

impl<'a> Reader<'a> {
    pub fn new(plan: &'a Plan, mapping: &'a ColumnMapping, issuer: &'a Issuer) -> Self {
        let file = &mapping.file;
        let dates = Dates { format: &file.date, zone: &issuer.zone, in_utc: file.dates_in_utc };
        let account = issuer.billing_account.as_str().into();
        Self { plan, mapping, dates, account, known: HashSet::new(), bytes: 0, remarks: Vec::new() }
    }

    /// What a record is.
    ///
    /// # Errors
    /// What cannot be read, and an amount or a currency that is missing, with the column.
    pub fn read(&mut self, record: &Record) -> Result<Found, InvoiceError> {
        self.remarks.clear();
        if !record.says_something {
            return Ok(Found::Nothing);
        }
        match self.plan.kind(record) {
            RowKind::Skip => Ok(Found::Skipped),
            RowKind::Total => {
                let currency = self.currency(None, record)?;
                Ok(Found::Total { currency, amount: self.amount(None, record)? })
            }
            RowKind::Line(category) => self.lines(record, category).map(Found::Lines),
        }
    }

    fn lines(&mut self, record: &Record, category: LineCategory) -> Result<Vec<Draft>, InvoiceError> {
        let mut lines = vec![self.line(None, record, category)?];
        let plan = self.plan;
        for (differs, category) in &plan.more {
            // It is there where its own amount is, and not zero.
            let amount = self.number(Some(differs), Column::Amount, record)?;
            if amount.is_some_and(|amount| !amount.is_zero()) {
                lines.push(self.line(Some(differs), record, *category)?);
            }
        }
        if let Some((list, _)) = plan.credits.and_then(|slot| record.get(slot)) {
            self.credits(list, record, &mut lines)?;
        }
        Ok(lines)
    }

    /// Each credit is a line like the record's own, but for what it credits.
    fn credits(&mut self, list: &str, record: &Record, lines: &mut Vec<Draft>) -> Result<(), InvoiceError> {
        let column = self.mapping.credits.as_deref().unwrap_or("credits");
        let in_column = |error: InvoiceError| error.in_column(column);
        for credit in credits::read(list).map_err(in_column)? {
            let value = Value { text: credit.amount.as_ref().into(), kind: credit.kind };
            let amount = self.digits(&value, column).map_err(in_column)?;
            let mut line = self.line(None, record, LineCategory::Credit)?;
            line.amount = amount;
            (line.quantity, line.unit, line.unit_price) = (None, None, None);
            if let Some(name) = credit.name {
                line.description = Some(self.text(&name).map_err(in_column)?);
            }
            lines.push(line);
        }
        Ok(())
    }

    fn line(
        &mut self,
        differs: Option<&Columns>,
        record: &Record,
        category: LineCategory,
    ) -> Result<Draft, InvoiceError> {
        let (start, end) = self.span(differs, record)?;
        // The quantity of a record is its first line's: no second line is priced by it.
        let own = |column| differs.is_none_or(|differs| differs.contains_key(&column));
        let mut draft = Draft {
            line_id: self.texts(differs, Column::LineId, record)?,
            billing_account: self.texts(differs, Column::BillingAccount, record)?,
            sub_account: self.texts(differs, Column::SubAccount, record)?,
            sku_text: self.texts(differs, Column::Sku, record)?,
            description: self.texts(differs, Column::Description, record)?,
            category,
            start,
            end,
            quantity: None,
            unit: None,
            unit_price: None,
            amount: self.amount(differs, record)?,
            currency: self.currency(differs, record)?,
        };
        if own(Column::Quantity) {
            draft.quantity = self.number(differs, Column::Quantity, record)?;
        }
        if own(Column::Unit) {
            draft.unit = self.texts(differs, Column::Unit, record)?;
        }
        if own(Column::UnitPrice) {
            draft.unit_price = self.number(differs, Column::UnitPrice, record)?;
        }
        draft.billing_account.get_or_insert_with(|| Arc::clone(&self.account));
        Ok(draft)
    }

    fn amount(&mut self, differs: Option<&Columns>, record: &Record) -> Result<Amount, InvoiceError> {
        let missing = || {
            InvoiceError::new("the amount is missing").in_column(&self.plan.label(differs, Column::Amount))
        };
        let amount = self.number(differs, Column::Amount, record)?;
        amount.ok_or_else(missing)
    }

    fn currency(&self, differs: Option<&Columns>, record: &Record) -> Result<Currency, InvoiceError> {
        let refused = |problem: String| {
            InvoiceError::new(problem).in_column(&self.plan.label(differs, Column::Currency))
        };
        let value = self.plan.value(differs, Column::Currency, record);
        let code = value.ok_or_else(|| refused("the currency is missing".to_owned()))?.text;
        let unknown = || refused(format!("{} is no currency of ISO 4217, like EUR", quoted(&code)));
        Currency::from_code(&code).ok_or_else(unknown)
    }

    fn number(
        &mut self,
        differs: Option<&Columns>,
        column: Column,
        record: &Record,
    ) -> Result<Option<Amount>, InvoiceError> {
        let plan = self.plan;
        let Some(value) = plan.value(differs, column, record) else { return Ok(None) };
        let label = || plan.label(differs, column);
        let number = self.digits_as(&value, label);
        number.map(Some).map_err(|error| error.in_column(&label()))
    }

    fn digits(&mut self, value: &Value<'_>, label: &str) -> Result<Amount, InvoiceError> {
        self.digits_as(value, || label.to_owned())
    }

    fn digits_as(&mut self, value: &Value<'_>, label: impl Fn() -> String) -> Result<Amount, InvoiceError> {
        let file = &self.mapping.file;
        let marks = match value.kind {
            Kind::Text => Marks { decimal: file.decimal, thousands: file.thousands },
            Kind::Number | Kind::Double | Kind::Iso => Marks::PLAIN,
        };
        let number = numbers::read(&value.text, marks)
            .map_err(|error| InvoiceError::new(format!("{}: {error}", quoted(&value.text))))?;
        if value.kind == Kind::Double {
            self.remarks.push((Remark::Double, label()));
        }
        if number.rounded {
            self.remarks.push((Remark::Rounded, label()));
        }
        Ok(number.value)
    }

    /// When a line begins and ends, as far as its record says.
    fn span(
        &mut self,
        differs: Option<&Columns>,
        record: &Record,
    ) -> Result<(Option<Instant>, Option<Instant>), InvoiceError> {
        let written = self.mapping.file.end;
        let start = self.date(differs, Column::Start, record)?;
        if written == LineEnd::Day {
            let day = start.map(|start| self.dates.whole_day(start)).transpose();
            let day = day.map_err(|why| self.refused(differs, Column::Start, why))?;
            return Ok(day.map_or((None, None), |(start, end)| (Some(start), Some(end))));
        }
        let end = self.date(differs, Column::End, record)?;
        let start = start.map(|start| self.dates.begin(start)).transpose();
        let start = start.map_err(|why| self.refused(differs, Column::Start, why))?;
        let end = end.map(|end| self.dates.end(end, written)).transpose();
        let end = end.map_err(|why| self.refused(differs, Column::End, why))?;
        match (start, end) {
            (Some(start), Some(end)) if end < start => Err(self.refused(
                differs,
                Column::End,
                format!("it ends at {end}, before it begins at {start}"),
            )),
            span => Ok(span),
        }
    }

    fn date(
        &mut self,
        differs: Option<&Columns>,
        column: Column,
        record: &Record,
    ) -> Result<Option<When>, InvoiceError> {
        let plan = self.plan;
        let Some(value) = plan.value(differs, column, record) else { return Ok(None) };
        let when = self.dates.read(&value.text, value.kind == Kind::Iso);
        let when =
            when.map_err(|why| self.refused(differs, column, format!("{}: {why}", quoted(&value.text))))?;
        if let When::Zoneless(_) = when {
            self.remarks.push((Remark::Zoneless, plan.label(differs, column)));
        }
        Ok(Some(when))
    }

    fn refused(&self, differs: Option<&Columns>, column: Column, why: String) -> InvoiceError {
        InvoiceError::new(why).in_column(&self.plan.label(differs, column))
    }

    /// The billing month that a record names.
    ///
    /// # Errors
    /// What is none.
    pub fn month(&self, record: &Record) -> Result<Option<NamedMonth>, InvoiceError> {
        let Some(value) = self.plan.value(None, Column::Month, record) else { return Ok(None) };
        let month = self.dates.month(&value.text, value.kind == Kind::Iso);
        month
            .map(Some)
            .map_err(|why| self.refused(None, Column::Month, format!("{}: {why}", quoted(&value.text))))
    }

    fn texts(
        &mut self,
        differs: Option<&Columns>,
        column: Column,
        record: &Record,
    ) -> Result<Option<Arc<str>>, InvoiceError> {
        let plan = self.plan;
        let Some(value) = plan.value(differs, column, record) else { return Ok(None) };
        let text = self.text(&value.text);
        text.map(Some).map_err(|error| error.in_column(&plan.label(differs, column)))
    }

    /// A text that lines share.
    fn text(&mut self, text: &str) -> Result<Arc<str>, InvoiceError> {
        if let Some(known) = self.known.get(text) {
            return Ok(Arc::clone(known));
        }
        if text.len() > MAX_TEXT {
            return Err(InvoiceError::new(format!("a text of more than {MAX_TEXT} bytes")));
        }
        self.bytes += text.len();
        if self.bytes > MAX_TEXTS {
            return Err(InvoiceError::new(format!(
                "the file's texts are more than {MAX_TEXTS} bytes: split it"
            )));
        }
        let text: Arc<str> = text.into();
        if self.known.len() < MAX_SHARED {
            self.known.insert(Arc::clone(&text));
        }
        Ok(text)
    }
}
