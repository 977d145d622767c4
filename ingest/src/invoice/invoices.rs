//! Lines gathered into invoices: which one each belongs to, its month, its repeats, its total.
//!
//! Invariant: every line of a file is in exactly one invoice, numbered from 1 in the file's order.

use super::dates::NamedMonth;
use super::error::{InvoiceError, quoted};
use super::given::{Issuer, Options};
use super::lines::{Draft, Remark};
use super::record::{Fingerprint, Record};
use super::report::Report;
use super::totals::{self, Total};
use schemas::decimal::Amount;
use schemas::id::InvoiceId;
use schemas::invoice::{Invoice, InvoiceLine, LineCategory, Standing};
use schemas::money::Currency;
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One invoice of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedInvoice {
    /// Its `version` is 1: which it is follows from the order of the journal, and whoever reads that
    /// says it.
    pub invoice: Invoice,
    pub report: Report,
}

/// More invoices than any file has.
const MAX_INVOICES: usize = 10_000;

/// What names an invoice within its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Named(InvoiceId),
    /// None was given yet; those of several months are several.
    Unnamed(Option<BillingMonth>),
}

pub struct Invoices<'a> {
    issuer: &'a Issuer,
    options: &'a Options,
    /// What the column of ids is called in the file.
    id_column: String,
    places: HashMap<Key, usize>,
    /// In the order in which they begin in the file.
    gathered: Vec<Gathered>,
    /// Totals of records that name no invoice in a file that has a column for it.
    loose_totals: Vec<(Currency, Stated)>,
    last: Option<(BillingMonth, Period)>,
}

#[derive(Debug, Clone)]
struct Stated {
    amount: Amount,
    record: u64,
    line: Option<u64>,
    column: String,
}

struct Gathered {
    key: Key,
    lines: Vec<InvoiceLine>,
    fingerprints: Vec<(Fingerprint, u32, u32)>,
    /// Lines that cover the billing period, as no date says otherwise.
    undated: Vec<u32>,
    /// How many records name a month, and the first of them.
    said: BTreeMap<BillingMonth, (u32, u64)>,
    /// How many lines begin in a month.
    begun: BTreeMap<BillingMonth, u32>,
    totals: BTreeMap<Currency, Stated>,
    sums: BTreeMap<Currency, (u32, Amount)>,
    report: Report,
}

impl<'a> Invoices<'a> {
    pub fn new(issuer: &'a Issuer, options: &'a Options, id_column: String) -> Self {
        Self {
            issuer,
            options,
            id_column,
            places: HashMap::new(),
            gathered: Vec::new(),
            loose_totals: Vec::new(),
            last: None,
        }
    }

    /// Adds the lines of a record, which names an invoice and a month or not.
    ///
    /// # Errors
    /// An invoice that is not the one asked for, too many of them, sums that do not fit.
    pub fn add(
        &mut self,
        record: &Record,
        invoice: Option<&str>,
        month: Option<NamedMonth>,
        remarks: &[(Remark, String)],
        drafts: Vec<Draft>,
    ) -> Result<(), InvoiceError> {
        let month = month.map(|month| self.month(month)).transpose()?;
        let key = self.key(invoice, month)?;
        let place = self.place(key)?;
        if let Some(month) = month {
            self.gathered[place].said.entry(month).or_insert((0, record.number)).0 += 1;
        }
        for (remark, column) in remarks {
            self.gathered[place].report.remarks.entry(*remark).or_default().add(record.number, column);
        }
        for (of_record, draft) in (0u32..).zip(drafts) {
            self.add_line(place, record.fingerprint, of_record, draft)?;
        }
        Ok(())
    }

    fn add_line(
        &mut self,
        place: usize,
        fingerprint: Fingerprint,
        of_record: u32,
        draft: Draft,
    ) -> Result<(), InvoiceError> {
        let span = self.span(draft.start, draft.end)?;
        let begun = draft.start.map(|start| self.period_of(start)).transpose()?;
        let gathered = &mut self.gathered[place];
        let index = u32::try_from(gathered.lines.len());
        let line = index.ok().and_then(|index| index.checked_add(1));
        let line = line.ok_or_else(|| InvoiceError::new("an invoice of too many lines"))?;
        if let Some((month, _)) = begun {
            *gathered.begun.entry(month).or_default() += 1;
        }
        // Amounts of both signs must fit on the way, too.
        let (lines, sum) = gathered.sums.entry(draft.currency).or_insert((0, Amount::ZERO));
        *lines += 1;
        *sum = sum.checked_add(draft.amount).map_err(|_| {
            InvoiceError::new(format!(
                "the amounts in {} add up to more than an amount may be",
                draft.currency
            ))
        })?;
        gathered.fingerprints.push((fingerprint, of_record, line));
        let (start, end) = span.unwrap_or_else(|| {
            gathered.undated.push(line);
            // Filled in once the month is known.
            let any = Instant::floor(jiff::Timestamp::UNIX_EPOCH);
            (any, any)
        });
        gathered.lines.push(InvoiceLine {
            line,
            line_id: draft.line_id,
            billing_account: draft.billing_account,
            sub_account: draft.sub_account,
            sku_text: draft.sku_text,
            description: draft.description,
            category: draft.category,
            start,
            end,
            quantity: draft.quantity,
            unit: draft.unit,
            unit_price: draft.unit_price,
            amount: draft.amount,
            currency: draft.currency,
            repeats: None,
        });
        Ok(())
    }

    /// A line without an end lasts as long as the billing period that it begins in, one without a
    /// begin since its end's began. `None` without dates.
    fn span(
        &mut self,
        start: Option<Instant>,
        end: Option<Instant>,
    ) -> Result<Option<(Instant, Instant)>, InvoiceError> {
        match (start, end) {
            (None, None) => Ok(None),
            (Some(start), end) => {
                let (_, period) = self.period_of(start)?;
                Ok(Some((start, end.unwrap_or(period.end()))))
            }
            (None, Some(end)) => {
                let last = Instant::from_micros(end.micros() - 1).unwrap_or(end);
                let (_, period) = self.period_of(last)?;
                Ok(Some((period.start(), end)))
            }
        }
    }

    /// The billing period of an instant; most are in the last one's.
    fn period_of(&mut self, instant: Instant) -> Result<(BillingMonth, Period), InvoiceError> {
        match self.last {
            Some(last) if last.1.contains(instant) => Ok(last),
            _ => {
                let found = self.issuer.period_of(instant).map_err(InvoiceError::new)?;
                self.last = Some(found);
                Ok(found)
            }
        }
    }

    fn month(&mut self, named: NamedMonth) -> Result<BillingMonth, InvoiceError> {
        match named {
            NamedMonth::Month(month) => Ok(month),
            NamedMonth::Within(instant) => self.period_of(instant).map(|(month, _)| month),
        }
    }

    /// Adds a stated total. One that names no invoice belongs to the only one of the file.
    ///
    /// # Errors
    /// Another total of the same currency.
    pub fn add_total(
        &mut self,
        record: &Record,
        invoice: Option<&str>,
        month: Option<NamedMonth>,
        currency: Currency,
        amount: Amount,
        column: String,
    ) -> Result<(), InvoiceError> {
        let stated = Stated { amount, record: record.number, line: record.line, column };
        if invoice.is_none() && self.options.invoice.is_none() {
            self.loose_totals.push((currency, stated));
            if self.loose_totals.len() > MAX_INVOICES {
                return Err(InvoiceError::new(format!("more than {MAX_INVOICES} totals")));
            }
            return Ok(());
        }
        let month = month.map(|month| self.month(month)).transpose()?;
        let key = self.key(invoice, month)?;
        let place = self.place(key)?;
        self.gathered[place].state(currency, stated)
    }

    fn key(&self, invoice: Option<&str>, month: Option<BillingMonth>) -> Result<Key, InvoiceError> {
        match (invoice, &self.options.invoice) {
            (None, None) => Ok(Key::Unnamed(month)),
            (None, Some(asked)) => Ok(Key::Named(asked.clone())),
            (Some(said), Some(asked)) if said != asked.as_str() => Err(self.not_the_id(format!(
                "the file says that it is of invoice {}, and --invoice says {}",
                quoted(said),
                quoted(asked.as_str())
            ))),
            (Some(said), _) => InvoiceId::new(said)
                .map(Key::Named)
                .map_err(|error| self.not_the_id(format!("{} names no invoice: {error}", quoted(said)))),
        }
    }

    fn not_the_id(&self, problem: String) -> InvoiceError {
        InvoiceError::new(problem).in_column(&self.id_column)
    }

    fn place(&mut self, key: Key) -> Result<usize, InvoiceError> {
        if let Some(last) = self.gathered.len().checked_sub(1)
            && self.gathered[last].key == key
        {
            return Ok(last);
        }
        if let Some(place) = self.places.get(&key) {
            return Ok(*place);
        }
        if self.gathered.len() == MAX_INVOICES {
            return Err(InvoiceError::new(format!("more than {MAX_INVOICES} invoices in one file")));
        }
        let place = self.gathered.len();
        self.places.insert(key.clone(), place);
        self.gathered.push(Gathered::new(key));
        Ok(place)
    }

    /// The invoices, once the file is at its end.
    ///
    /// # Errors
    /// A month that nothing says, two of one name, a total that contradicts the lines.
    pub fn finish(mut self) -> Result<Vec<ImportedInvoice>, InvoiceError> {
        let alone = if self.gathered.len() == 1 { self.gathered.first_mut() } else { None };
        match alone {
            Some(alone) => {
                for (currency, stated) in self.loose_totals {
                    alone.state(currency, stated)?;
                }
            }
            None => {
                if let Some((_, stated)) = self.loose_totals.first() {
                    return Err(stated.refuse(format!(
                        "a total without the id of an invoice, and the file has {} of them",
                        self.gathered.len()
                    )));
                }
            }
        }
        if self.gathered.is_empty() {
            return Err(InvoiceError::new("it has no lines"));
        }
        let (issuer, options) = (self.issuer, self.options);
        let mut invoices: Vec<ImportedInvoice> = Vec::with_capacity(self.gathered.len());
        let mut names = HashMap::new();
        for gathered in self.gathered {
            let imported = gathered.finish(issuer, options)?;
            if names.insert(imported.invoice.id.clone(), ()).is_some() {
                return Err(InvoiceError::new(format!(
                    "some records of {} say which month they are of and some do not: give --invoice or --period",
                    quoted(imported.invoice.id.as_str())
                )));
            }
            invoices.push(imported);
        }
        Ok(invoices)
    }
}

impl Stated {
    fn refuse(&self, problem: String) -> InvoiceError {
        InvoiceError::new(problem).in_column(&self.column).in_record(self.record, self.line)
    }
}

impl Gathered {
    fn new(key: Key) -> Self {
        Self {
            key,
            lines: Vec::new(),
            fingerprints: Vec::new(),
            undated: Vec::new(),
            said: BTreeMap::new(),
            begun: BTreeMap::new(),
            totals: BTreeMap::new(),
            sums: BTreeMap::new(),
            report: Report::default(),
        }
    }

    fn state(&mut self, currency: Currency, stated: Stated) -> Result<(), InvoiceError> {
        match self.totals.get(&currency) {
            Some(before) if before.amount != stated.amount => Err(stated.refuse(format!(
                "a second total, {} {currency}, where record {} states {}",
                stated.amount, before.record, before.amount
            ))),
            Some(_) => Ok(()),
            None => {
                self.totals.insert(currency, stated);
                Ok(())
            }
        }
    }

    fn finish(mut self, issuer: &Issuer, options: &Options) -> Result<ImportedInvoice, InvoiceError> {
        let month = self.month(options)?;
        let period = issuer.anchor.period(month, &issuer.zone);
        let period = period.map_err(|error| InvoiceError::new(error.to_string()))?;
        let (id, standing) = match self.key.clone() {
            Key::Named(id) if options.partial => (id, Standing::Partial),
            Key::Named(id) => (id, Standing::Complete),
            Key::Unnamed(_) => {
                let id = InvoiceId::new(format!("{}-preliminary-{month}", issuer.provider));
                let id =
                    id.map_err(|error| InvoiceError::new(format!("its id would be no name: {error}")))?;
                (id, Standing::Preliminary)
            }
        };
        for line in &self.undated {
            let line = place_of(*line);
            (self.lines[line].start, self.lines[line].end) = (period.start(), period.end());
        }
        self.find_repeats();
        let stated = std::mem::take(&mut self.totals);
        let mut totals: BTreeMap<Currency, Amount> =
            stated.iter().map(|(currency, stated)| (*currency, stated.amount)).collect();
        if standing == Standing::Complete {
            for (currency, stated) in stated {
                self.compare(currency, &stated, issuer, period)?;
            }
        } else {
            self.report.ignored_totals = std::mem::take(&mut totals);
        }
        self.lines.shrink_to_fit();
        let invoice = Invoice {
            provider: issuer.provider.clone(),
            id,
            version: 1,
            period: month,
            standing,
            totals,
            lines: self.lines,
        };
        Ok(ImportedInvoice { invoice, report: self.report })
    }

    /// The month that its records say, else the one that most lines begin in; of several the latest.
    fn month(&self, options: &Options) -> Result<BillingMonth, InvoiceError> {
        if let Some(asked) = options.period {
            if let Some((said, (_, record))) = self.said.iter().find(|(said, _)| **said != asked) {
                let problem = format!("it says that it is of {said}, and --period says {asked}");
                return Err(InvoiceError::new(problem).in_record(*record, None));
            }
            return Ok(asked);
        }
        let said = self.said.iter().max_by_key(|(_, (records, _))| *records).map(|(month, _)| *month);
        let begun = || self.begun.iter().max_by_key(|(_, lines)| **lines).map(|(month, _)| *month);
        said.or_else(begun).ok_or_else(|| {
            InvoiceError::new(
                "nothing in it says of which month it is, neither a column nor a date: give --period",
            )
        })
    }

    fn find_repeats(&mut self) {
        self.fingerprints.sort_unstable();
        let same = |one: &(Fingerprint, u32, u32), other: &(Fingerprint, u32, u32)| {
            (one.0, one.1) == (other.0, other.1)
        };
        for same in std::mem::take(&mut self.fingerprints).chunk_by(same) {
            let first = same[0].2;
            for (_, _, line) in &same[1..] {
                self.lines[place_of(*line)].repeats = Some(first);
                self.report.repeated += 1;
            }
        }
    }

    fn compare(
        &mut self,
        currency: Currency,
        stated: &Stated,
        issuer: &Issuer,
        period: Period,
    ) -> Result<(), InvoiceError> {
        let (lines, sum) = self.sums.get(&currency).copied().unwrap_or((0, Amount::ZERO));
        match totals::compare(stated.amount, sum, lines, currency) {
            Total::Agrees => Ok(()),
            Total::Contradicts => Err(stated.refuse(format!(
                "lines add up to {sum}, the file says {}: it may have been cut short; --partial takes it as a part",
                stated.amount
            ))),
            Total::Differs(amount) => {
                let line = u32::try_from(self.lines.len() + 1)
                    .map_err(|_| InvoiceError::new("an invoice of too many lines"))?;
                self.lines.push(InvoiceLine {
                    line,
                    line_id: None,
                    billing_account: Some(issuer.billing_account.as_str().into()),
                    sub_account: None,
                    sku_text: None,
                    description: Some(Arc::from("difference to the stated total")),
                    category: LineCategory::Adjustment,
                    start: period.start(),
                    end: period.end(),
                    quantity: None,
                    unit: None,
                    unit_price: None,
                    amount,
                    currency,
                    repeats: None,
                });
                self.report.adjustments.insert(currency, amount);
                Ok(())
            }
        }
    }
}

/// Where a line is in its invoice, from 0.
fn place_of(line: u32) -> usize {
    usize::try_from(line).expect("a line that exists is in memory") - 1
}
