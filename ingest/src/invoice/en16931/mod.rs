//! Electronic invoices of the European norm EN 16931, in UBL 2.1 or UN/CEFACT CII: one document, in
//! whichever syntax, to lines.
//!
//! Nobody is asked whether a provider's other figures are right, and no document is validated against
//! a schema: BR-CO-10 to BR-CO-17 are recomputed, because they are about what is billed.
//!
//! Invariant: a file gives either lines that the rules hold for, or a refusal.

// In reading order.
mod refusal; // why a file is refused
mod figure; // numbers from their digits
mod xml; // a bounded tree, without DTD
mod document; // the norm's terms, and how fields are read
mod ubl; // where UBL has them
mod cii; // where CII has them
mod rules; // figures that follow from others
mod calendar; // the provider's days and billing periods
mod lines; // lines of an invoice
#[cfg(test)]
mod tests;

pub use refusal::Refusal;
pub use xml::MAX_BYTES;

use calendar::Calendar;
use document::Document;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use refusal::quoted;
use schemas::decimal::Amount;
use schemas::id::InvoiceId;
use schemas::invoice::InvoiceLine;
use schemas::money::Currency;
use schemas::time::{Anchor, BillingMonth};

/// What whoever imports a file says beside it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub invoice: Option<InvoiceId>,
    pub period: Option<BillingMonth>,
}

/// An invoice, as far as its file and the options say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectronicInvoice {
    /// None where it is blank.
    pub id: Option<InvoiceId>,
    /// Of the first day that it bills (BT-73), else of its date of issue.
    pub month: BillingMonth,
    pub issued: Date,
    pub currency: Currency,
    /// BT-112 + BT-114.
    pub total: Amount,
    pub lines: Vec<InvoiceLine>,
    /// What its lines were less than the total; the last line is as much.
    pub difference: Amount,
    /// How many numbers had digits past the 18th decimal.
    pub rounded: u32,
}

/// Reads a file. Days begin at midnight in the provider's time zone, its billing periods on the day of
/// the anchor.
///
/// # Errors
/// What cannot be read, what must be there and is not, a rule that is broken, what the options say
/// otherwise, and a corrected invoice (type 384) of which it is not said which one it stands in for.
pub fn read(
    bytes: &[u8],
    zone: &TimeZone,
    anchor: Anchor,
    options: &Options,
) -> Result<ElectronicInvoice, Refusal> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let root = xml::parse(bytes)?;
    let (document, fields) = match &*root.name {
        "ubl:Invoice" => ubl::invoice(&root),
        "ubl:CreditNote" => ubl::credit_note(&root),
        "rsm:CrossIndustryInvoice" => cii::document(&root),
        other => {
            let what = format!("{} is no invoice in UBL 2 or CII", quoted(other));
            Err(Refusal::at(root.line, what))
        }
    }?;
    rules::check(&document)?;
    let calendar = Calendar { zone, anchor };
    let month = month(&document, calendar, options)?;
    let (lines, difference) = lines::lines(&document, bytes, month, calendar)?;
    Ok(ElectronicInvoice {
        id: id(&document, options)?,
        month,
        issued: document.issued,
        currency: document.currency,
        total: lines::total(&document)?,
        lines,
        difference,
        rounded: fields.rounded(),
    })
}

/// A corrected invoice has a number of its own, and stands in for another.
fn id(document: &Document, options: &Options) -> Result<Option<InvoiceId>, Refusal> {
    let said = document.id.as_deref();
    match (said, &options.invoice) {
        (_, None) if &*document.type_code == "384" => Err(Refusal::File(
            "it is a corrected invoice (type 384); say with --invoice which one it stands in for".to_owned(),
        )),
        (Some(said), Some(asked)) if said != asked.as_str() && &*document.type_code != "384" => {
            let (said, asked) = (quoted(said), quoted(asked.as_str()));
            Err(Refusal::File(format!("its number (BT-1) is {said}, and --invoice says {asked}")))
        }
        (_, Some(asked)) => Ok(Some(asked.clone())),
        (Some(said), None) => match InvoiceId::new(said) {
            Ok(id) => Ok(Some(id)),
            Err(error) => {
                Err(Refusal::File(format!("its number (BT-1) {} names no invoice: {error}", quoted(said))))
            }
        },
        (None, None) => Ok(None),
    }
}

fn month(document: &Document, calendar: Calendar<'_>, options: &Options) -> Result<BillingMonth, Refusal> {
    let said = document.period.first.map(|first| calendar.month_of(first)).transpose()?;
    match (said, options.period) {
        (Some(said), Some(asked)) if said != asked => {
            Err(Refusal::File(format!("what it bills begins in {said} (BT-73), and --period says {asked}")))
        }
        (Some(month), _) | (None, Some(month)) => Ok(month),
        (None, None) => calendar.month_of(document.issued),
    }
}
