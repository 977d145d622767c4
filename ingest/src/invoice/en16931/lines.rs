//! Lines out of what an electronic invoice says, in the order of the contract: lines, allowances and
//! charges as they stand, VAT, rounding; at last what lines of more decimals than the totals differ by.
//!
//! What a line costs more or less on its own is in its amount (BT-131) already, and what was paid
//! before (BT-113) is no part of what was billed; neither is a line.
//!
//! Invariant: where the rules hold, the lines add up to BT-112 + BT-114.

use super::calendar::Calendar;
use super::document::Document;
use super::refusal::Refusal;
use super::rules::name;
use schemas::decimal::{Amount, DecimalError};
use schemas::invoice::{InvoiceLine, LineCategory};
use schemas::time::{BillingMonth, Period};
use std::collections::BTreeMap;
use std::ops::Range;

/// Types of UNTDID 1001 that take back: the credit notes among those that the norm allows.
const CREDIT_NOTES: &[&str] =
    &["81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "502", "503", "532"];

/// All lines of a document that is billed in a month, and what the last of them comes to, if it is there
/// for lines of more decimals than the totals; `file` is what the places of the document are in.
///
/// # Errors
/// A period that ends before it begins, and days at the edge of the calendar.
pub fn lines(
    document: &Document,
    file: &[u8],
    month: BillingMonth,
    calendar: Calendar<'_>,
) -> Result<(Vec<InvoiceLine>, Amount), Refusal> {
    let billed = calendar.period(month)?;
    let whole = calendar.span(document.period, billed, 1)?;
    let mut lines = Lines {
        negative: takes_back(document),
        document,
        file,
        first_with: BTreeMap::new(),
        lines: Vec::new(),
    };
    for line in &document.lines {
        let covered = match line.period.is_said() {
            true => calendar.span(line.period, billed, line.at)?,
            false => whole,
        };
        let mut built = lines.line(LineCategory::Usage, line.amount, covered, Some(&line.source))?;
        built.line_id = line.id.as_deref().map(Into::into);
        built.sku_text = line.sellers_item.as_deref().or(line.item.as_deref()).map(Into::into);
        built.description = line.item.as_deref().map(Into::into);
        built.quantity = line.quantity.map(|quantity| lines.signed(quantity)).transpose()?;
        built.unit = line.unit.as_deref().map(Into::into);
        built.unit_price = line.unit_price;
        lines.lines.push(built);
    }
    for charge in &document.charges {
        let (category, amount, otherwise) = match charge.is_charge {
            true => (LineCategory::Fee, charge.amount, "charge"),
            false => (LineCategory::Credit, negated(charge.amount)?, "allowance"),
        };
        let mut built = lines.line(category, amount, whole, Some(&charge.source))?;
        built.description = Some(charge.reason.as_deref().unwrap_or(otherwise).into());
        lines.lines.push(built);
    }
    for vat in &document.vat {
        let mut built = lines.line(LineCategory::Tax, vat.tax, whole, Some(&vat.source))?;
        built.description = Some(name(vat).into());
        lines.lines.push(built);
    }
    if let Some(rounding) = document.totals.rounding.filter(|rounding| !rounding.is_zero()) {
        let mut built = lines.line(LineCategory::Adjustment, rounding, whole, None)?;
        built.description = Some("rounding".into());
        lines.lines.push(built);
    }
    let difference = lines.difference(total(document)?)?;
    if !difference.is_zero() {
        let mut built = lines.line(LineCategory::Adjustment, difference, whole, None)?;
        (built.amount, built.description) = (difference, Some("difference to the stated total".into()));
        lines.lines.push(built);
    }
    Ok((lines.lines, difference))
}

/// What is billed: BT-112 + BT-114, of a credit note below zero.
///
/// # Errors
/// A sum of more than 20 digits.
pub fn total(document: &Document) -> Result<Amount, Refusal> {
    let rounding = document.totals.rounding.unwrap_or(Amount::ZERO);
    let total = document.totals.with_vat.checked_add(rounding);
    let total = total.map_err(|error| Refusal::File(format!("its total (BT-112 + BT-114): {error}")))?;
    if takes_back(document) { negated(total) } else { Ok(total) }
}

fn takes_back(document: &Document) -> bool {
    document.credit_note || CREDIT_NOTES.contains(&&*document.type_code)
}

fn too_much(error: DecimalError) -> Refusal {
    Refusal::File(format!("its amounts: {error}"))
}

fn negated(amount: Amount) -> Result<Amount, Refusal> {
    Amount::from_units(-amount.units()).map_err(|error| Refusal::File(error.to_string()))
}

struct Lines<'a> {
    negative: bool,
    document: &'a Document,
    file: &'a [u8],
    /// The line that first had these bytes.
    first_with: BTreeMap<&'a [u8], u32>,
    lines: Vec<InvoiceLine>,
}

impl<'a> Lines<'a> {
    /// The next line, with what each has.
    fn line(
        &mut self,
        category: LineCategory,
        amount: Amount,
        covered: Period,
        source: Option<&Range<usize>>,
    ) -> Result<InvoiceLine, Refusal> {
        let number = u32::try_from(self.lines.len() + 1).expect("elements are bounded");
        let record = source.map(|source| &self.file[source.clone()]);
        let first = record.map(|record| *self.first_with.entry(record).or_insert(number));
        Ok(InvoiceLine {
            line: number,
            line_id: None,
            billing_account: None,
            sub_account: None,
            sku_text: None,
            description: None,
            category,
            start: covered.start(),
            end: covered.end(),
            quantity: None,
            unit: None,
            unit_price: None,
            amount: self.signed(amount)?,
            currency: self.document.currency,
            repeats: first.filter(|first| *first < number),
        })
    }

    /// By how much the lines are less than a total.
    fn difference(&self, total: Amount) -> Result<Amount, Refusal> {
        let less =
            |left: Amount, line: &InvoiceLine| left.checked_add(negated(line.amount)?).map_err(too_much);
        self.lines.iter().try_fold(total, less)
    }

    fn signed(&self, amount: Amount) -> Result<Amount, Refusal> {
        if self.negative { negated(amount) } else { Ok(amount) }
    }
}
