//! What an electronic invoice says, in the terms of EN 16931-1, and how its fields are read.
//!
//! Which element of which syntax holds a term is deliberately elsewhere.
//!
//! Invariant: amounts are as the file has them; a credit note's are not negated here.

use super::figure::{Figure, figure, quotient};
use super::refusal::{Refusal, quoted};
use super::xml::Element;
use jiff::civil::Date;
use schemas::decimal::Amount;
use schemas::money::Currency;
use std::ops::Range;

/// An invoice or a credit note.
#[derive(Debug)]
pub struct Document {
    /// BT-1.
    pub id: Option<Box<str>>,
    /// BT-2.
    pub issued: Date,
    /// BT-3, of UNTDID 1001.
    pub type_code: Box<str>,
    /// Whether its syntax has another root for credit notes, and this is it.
    pub credit_note: bool,
    /// BT-5.
    pub currency: Currency,
    /// BG-14.
    pub period: Days,
    /// BG-25.
    pub lines: Vec<Line>,
    /// BG-20 and BG-21, as they stand.
    pub charges: Vec<Charge>,
    /// BG-23.
    pub vat: Vec<Vat>,
    /// BG-22.
    pub totals: Totals,
    /// What is collected for others with it (BT-DEX-002 of XRechnung's extension): due with the invoice,
    /// and no part of its total.
    pub collected: Amount,
}

/// From the first to the last day, where they are said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Days {
    pub first: Option<Date>,
    pub last: Option<Date>,
}

impl Days {
    pub fn is_said(self) -> bool {
        self.first.is_some() || self.last.is_some()
    }
}

#[derive(Debug)]
pub struct Line {
    /// Its bytes in the file, and where they begin.
    pub source: Range<usize>,
    pub at: u32,
    /// BT-126.
    pub id: Option<Box<str>>,
    /// BT-155.
    pub sellers_item: Option<Box<str>>,
    /// BT-153.
    pub item: Option<Box<str>>,
    /// BG-26.
    pub period: Days,
    /// BT-129.
    pub quantity: Option<Amount>,
    /// BT-130.
    pub unit: Option<Box<str>>,
    /// BT-146 ÷ BT-149.
    pub unit_price: Option<Amount>,
    /// BT-131.
    pub amount: Amount,
}

/// An allowance or a charge on the whole document.
#[derive(Debug)]
pub struct Charge {
    pub source: Range<usize>,
    pub is_charge: bool,
    /// BT-97 or BT-104, else the code of it.
    pub reason: Option<Box<str>>,
    /// BT-92 or BT-99.
    pub amount: Amount,
}

/// What is taxed at one rate.
#[derive(Debug)]
pub struct Vat {
    pub source: Range<usize>,
    /// BT-118.
    pub category: Box<str>,
    /// BT-119, in percent: as written, and its value.
    pub rate: Option<(Box<str>, Amount)>,
    /// BT-116.
    pub base: Amount,
    /// BT-117.
    pub tax: Amount,
}

#[derive(Debug)]
pub struct Totals {
    /// BT-106.
    pub lines: Amount,
    /// BT-107.
    pub allowances: Option<Amount>,
    /// BT-108.
    pub charges: Option<Amount>,
    /// BT-109.
    pub without_vat: Amount,
    /// BT-110.
    pub vat: Option<Amount>,
    /// BT-112.
    pub with_vat: Amount,
    /// BT-113.
    pub prepaid: Option<Amount>,
    /// BT-114.
    pub rounding: Option<Amount>,
    /// BT-115.
    pub payable: Amount,
}

/// Reads fields, and counts what was rounded.
#[derive(Debug)]
pub struct Fields {
    currency: Currency,
    rounded: u32,
}

impl Fields {
    /// Of a document in the currency of this code.
    ///
    /// # Errors
    /// No code, or one that ISO 4217 does not have.
    pub fn new(root: &Element, code: Option<&str>) -> Result<Self, Refusal> {
        let code = code.ok_or_else(|| missing(root, "the currency of the invoice (BT-5, BR-05)"))?;
        let currency = Currency::from_code(code)
            .ok_or_else(|| Refusal::at(root.line, format!("{} is not a currency", quoted(code))))?;
        Ok(Self { currency, rounded: 0 })
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// How many numbers had digits past the 18th decimal.
    pub fn rounded(&self) -> u32 {
        self.rounded
    }

    /// A number.
    ///
    /// # Errors
    /// A text that is none.
    pub fn number(&mut self, within: &Element, path: &str) -> Result<Option<Amount>, Refusal> {
        match within.at(path)? {
            Some(element) => self.read(element),
            None => Ok(None),
        }
    }

    /// The number that an element is.
    ///
    /// # Errors
    /// A text that is none.
    pub fn read(&mut self, element: &Element) -> Result<Option<Amount>, Refusal> {
        let Some(text) = element.text() else { return Ok(None) };
        match figure(text) {
            Ok(figure) => Ok(Some(self.told(figure))),
            Err(error) => {
                let what = format!("{} in `{}` is not a number: {error}", quoted(text), element.name);
                Err(Refusal::at(element.line, what))
            }
        }
    }

    /// An amount in the currency of the document.
    ///
    /// # Errors
    /// A text that is no number, and another currency.
    pub fn money(&mut self, within: &Element, path: &str) -> Result<Option<Amount>, Refusal> {
        if let Some(element) = within.at(path)?
            && let Some(code) = element.attribute("currencyID")
            && code != self.currency.code()
        {
            let what = format!("`{}` is in {}, the invoice in {}", element.name, quoted(code), self.currency);
            return Err(Refusal::at(element.line, what));
        }
        self.number(within, path)
    }

    /// An amount that must be there.
    ///
    /// # Errors
    /// As [`Self::money`], and where there is none.
    pub fn due(&mut self, within: &Element, path: &str, what: &str) -> Result<Amount, Refusal> {
        self.money(within, path)?.ok_or_else(|| missing(within, &format!("{what}, in `{path}`")))
    }

    /// A price for one unit, out of a price for several. One in another currency than what is billed is
    /// none.
    ///
    /// # Errors
    /// A text that is no number, and a price for no units.
    pub fn unit_price(
        &mut self,
        within: &Element,
        price: &str,
        per: &str,
    ) -> Result<Option<Amount>, Refusal> {
        let currency = within.at(price)?.and_then(|element| element.attribute("currencyID"));
        if currency.is_some_and(|code| code != self.currency.code()) {
            return Ok(None);
        }
        let Some(amount) = self.number(within, price)? else { return Ok(None) };
        let Some(units) = self.number(within, per)? else { return Ok(Some(amount)) };
        let refused = |what: &str| Refusal::at(within.line, format!("the price in `{price}` {what}"));
        match quotient(amount, units) {
            Some(Ok(figure)) => Ok(Some(self.told(figure))),
            Some(Err(error)) => Err(refused(&format!("for one unit: {error}"))),
            None => Err(refused("is for 0 units (BT-149)")),
        }
    }

    /// The rate of a VAT category: as written, and its value.
    ///
    /// # Errors
    /// A text that is no number.
    pub fn rate(&mut self, within: &Element, path: &str) -> Result<Option<(Box<str>, Amount)>, Refusal> {
        let written = text(within, path)?;
        Ok(written.zip(self.number(within, path)?))
    }

    fn told(&mut self, figure: Figure) -> Amount {
        self.rounded = self.rounded.saturating_add(u32::from(figure.rounded));
        figure.amount
    }
}

/// A text; none where it is blank.
///
/// # Errors
/// Two of them.
pub fn text(within: &Element, path: &str) -> Result<Option<Box<str>>, Refusal> {
    Ok(within.at(path)?.and_then(Element::text).map(Into::into))
}

/// Whether an allowance or charge is a charge.
///
/// # Errors
/// A text that is neither yes nor no.
pub fn is_charge(within: &Element, path: &str) -> Result<bool, Refusal> {
    match within.at(path)?.and_then(Element::text) {
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        _ => Err(Refusal::at(within.line, format!("`{path}` must be true or false"))),
    }
}

/// A date that [`Date`] makes of a text.
///
/// # Errors
/// A text that is none.
pub fn date(
    within: &Element,
    path: &str,
    read: impl Fn(&Element, &str) -> Option<Date>,
) -> Result<Option<Date>, Refusal> {
    let Some(element) = within.at(path)? else { return Ok(None) };
    let Some(text) = element.text() else { return Ok(None) };
    match read(element, text) {
        Some(date) => Ok(Some(date)),
        None => {
            let what = format!("{} in `{}` is not a date", quoted(text), element.name);
            Err(Refusal::at(element.line, what))
        }
    }
}

/// A date out of its digits.
pub fn day(year: &str, month: &str, day: &str) -> Option<Date> {
    let number = |text: &str, width: usize| {
        let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i16>().ok()).flatten()
    };
    let small = |text: &str| i8::try_from(number(text, 2)?).ok();
    Date::new(number(year, 4)?, small(month)?, small(day)?).ok()
}

/// Refuses a document without lines, as some profiles of Factur-X are.
///
/// # Errors
/// There are none.
pub fn has_lines(lines: &[Line]) -> Result<(), Refusal> {
    match lines.is_empty() {
        true => Err(Refusal::File("it has no lines (BR-16): a profile that says totals only".to_owned())),
        false => Ok(()),
    }
}

/// What is not there, though it must.
pub fn missing(within: &Element, what: &str) -> Refusal {
    Refusal::at(within.line, format!("`{}` does not have {what}", within.name))
}
