//! What a statement says of a line, whatever its form.
//!
//! Invariant: sums of several currencies stand side by side.

use rating::catalog::{Catalog, Provider};
use rating::document::{Document, Sums};
use rating::posted::{Numbered, Posted, PostedKind};
use schemas::decimal::Amount;
use schemas::money::{Currency, Money};

/// An amount with at least the digits of its currency's minor unit: `2.40 EUR`.
pub fn money(amount: Amount, currency: Currency) -> String {
    format!("{} {currency}", digits(amount, currency))
}

/// The same without the currency.
pub fn digits(amount: Amount, currency: Currency) -> String {
    let mut text = amount.to_string();
    let wanted = currency.minor_digits() as usize;
    let have = text.find('.').map_or(0, |point| text.len() - point - 1);
    if have == 0 && wanted > 0 {
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', wanted.saturating_sub(have)));
    text
}

/// What a line comes to.
pub fn bill(money: Money) -> String {
    money.to_amount().map_or_else(|| "too large".to_owned(), |amount| digits(amount, money.currency))
}

/// Sums beside one another; of none, nothing.
pub fn sums(sums: &Sums) -> String {
    let sums: Vec<String> = sums.iter().map(|(currency, sum)| money(*sum, *currency)).collect();
    if sums.is_empty() { "0".to_owned() } else { sums.join(", ") }
}

pub fn provider<'c>(line: &Posted<'_>, catalog: &'c Catalog) -> Option<&'c Provider> {
    catalog.providers.get(&line.provider)
}

/// What a line is for: its own words, or its SKU's name.
pub fn what(line: &Posted<'_>, catalog: &Catalog) -> String {
    let sku = line.sku.as_ref().map(|id| {
        let known = provider(line, catalog).and_then(|provider| provider.sku(id));
        known.map_or_else(|| id.to_string(), |sku| sku.name.clone())
    });
    line.description.as_deref().map(str::to_owned).or(sku).unwrap_or_else(|| line.category.to_string())
}

/// What else a person must know of a line.
pub fn note(line: &Posted<'_>) -> String {
    let mut notes: Vec<String> = Vec::new();
    if line.is_estimate() {
        notes.push("estimate".to_owned());
    }
    if let Some(correction) = &line.correction {
        notes.push(format!("{} of {}", correction.entry, correction.month));
    }
    if line.kind == PostedKind::Grant {
        notes.push("grant".to_owned());
    }
    if let Some(invoice) = &line.invoice {
        notes.push(format!("invoice {invoice}"));
    }
    if let Some(billed) = &line.billed
        && let Some(rate) = billed.rate
    {
        let own = line.amount.to_amount().map_or_else(String::new, |own| money(own, line.amount.currency));
        notes.push(format!("{own} at {rate}"));
    }
    notes.join(", ")
}

/// The days of a charge period in the provider's time zone: `2025-10-01 to 2025-10-31`.
pub fn days(line: &Posted<'_>, catalog: &Catalog) -> String {
    let zone = provider(line, catalog).map_or(jiff::tz::TimeZone::UTC, |provider| provider.time_zone.clone());
    let date = |at: jiff::Timestamp| at.to_zoned(zone.clone()).date();
    let first = date(line.start.to_timestamp());
    // The end is the first instant after it.
    let within = line.end.to_timestamp() - jiff::SignedDuration::from_micros(1);
    let last = date(within.max(line.start.to_timestamp()));
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

/// A part of a statement: its lines in their order, with a heading.
pub struct Section<'d> {
    pub heading: &'static str,
    pub lines: Vec<&'d Numbered<'d>>,
}

/// The lines of one currency that are not of nothing: of the month, and corrections apart.
pub fn sections<'d>(document: &'d Document<'_>, statement: &str) -> Vec<Section<'d>> {
    let of = |corrects: bool| {
        let lines = document.lines.iter().filter(|line| {
            *line.statement == *statement
                && line.line.bill().minor_units != 0
                && line.line.correction.is_some() == corrects
        });
        lines.collect::<Vec<_>>()
    };
    let sections = [("Charges", of(false)), ("Corrections of closed months", of(true))];
    let sections = sections.into_iter().filter(|(_, lines)| !lines.is_empty());
    sections.map(|(heading, lines)| Section { heading, lines }).collect()
}

/// The currency of a statement, and whose name is on it.
pub fn head(document: &Document<'_>, catalog: &Catalog) -> (String, String) {
    let customer = catalog.customers.get(&document.customer);
    let name = customer.map_or_else(|| document.customer.to_string(), |customer| customer.name.clone());
    let state = match document.is_closed {
        true => "closed: as it was posted",
        false => "open: it may still change",
    };
    (name, state.to_owned())
}

/// The totals of a statement, each with its words.
pub fn totals(document: &Document<'_>) -> Vec<(&'static str, String)> {
    let mut totals = vec![("Total", sums(&document.total))];
    if !document.corrections.is_empty() {
        totals.push(("of which corrections of closed months", sums(&document.corrections)));
    }
    if !document.estimates.is_empty() {
        totals.push(("of which estimates, until the provider's invoice is in", sums(&document.estimates)));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::decimal::Sign;

    #[test]
    fn money_has_the_digits_of_its_currency() {
        for (text, code, shown) in
            [("2.4", "EUR", "2.40"), ("2", "EUR", "2.00"), ("-0.125", "EUR", "-0.125"), ("7", "JPY", "7")]
        {
            let currency = Currency::from_code(code).expect("a currency");
            let amount = Amount::parse(text, Sign::Any).expect("an amount");
            assert_eq!(digits(amount, currency), shown);
        }
        assert_eq!(sums(&Sums::new()), "0");
    }
}
