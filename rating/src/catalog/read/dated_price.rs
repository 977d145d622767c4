//! The dated prices of a SKU: when each begins and ends.
//!
//! A date is the midnight at which it begins in the provider's time zone.
//!
//! Invariant: the prices of a SKU are in the order of their beginnings, and at most one is in force
//! at an instant.

use super::definitions::Context;
use super::ending::means_for_ever;
use super::format::PRICE_KEYS;
use super::price_model::read_terms;
use super::toml::{Table, day};
use crate::catalog::contents::DatedPrice;
use crate::price::{Basis, PriceModel, Recurrence};
use jiff::civil::Date;
use schemas::time::{Anchor, Instant, start_of_day};

/// The prices by date. `None` if one of them has a problem, or there is none. `whole` says why a billing
/// period has one price, where it has.
pub(super) fn read_prices(
    table: &Table<'_>,
    (basis, whole): (Basis, Option<&str>),
    context: &Context<'_>,
) -> Option<Vec<DatedPrice>> {
    let tables = table.tables("price", &format!("this price of {}", table.name()))?;
    if tables.is_empty() {
        table.problem(
            table.line,
            format!("{} has no price", table.name()),
            "add one with `[[sku.price]]`; what is free has `model = \"zero\"`",
        );
        return None;
    }
    let prices: Vec<Option<DatedPrice>> =
        tables.iter().map(|price| read_price(price, (basis, whole), context)).collect();
    // Overlaps are looked for among the prices that could be read.
    let all_read = prices.iter().all(Option::is_some);
    let mut prices: Vec<DatedPrice> = prices.into_iter().flatten().collect();
    prices.sort_by_key(|price| (price.from, price.line));
    check_dates(table, &prices);
    all_read.then_some(prices)
}

/// `prices` are one SKU's, by their beginning.
fn check_dates(table: &Table<'_>, prices: &[DatedPrice]) {
    let mut longest: Option<&DatedPrice> = None;
    for price in prices {
        if let Some(earlier) = longest {
            match earlier.until {
                Some(until) if until == price.from => {}
                Some(until) if until < price.from => {
                    let ended = earlier.until_date.unwrap_or(price.from_date);
                    table.warning(
                        price.line,
                        format!(
                            "{} has no price from {ended} until {}; usage in between cannot be billed",
                            table.name(),
                            price.from_date
                        ),
                    );
                }
                _ => {
                    let message = format!(
                        "the price of {} from {} overlaps the one from {} (line {})",
                        table.name(),
                        price.from_date,
                        earlier.from_date,
                        earlier.line
                    );
                    table.problem(
                        price.line,
                        message,
                        format!("end the earlier one with `until = \"{}\"`", price.from_date),
                    );
                }
            }
        }
        let outlasts = |other: &DatedPrice| {
            price.until.is_none() || other.until.is_some_and(|until| price.until > Some(until))
        };
        if longest.is_none_or(outlasts) {
            longest = Some(price);
        }
    }
}

fn read_price(
    table: &Table<'_>,
    (basis, whole): (Basis, Option<&str>),
    context: &Context<'_>,
) -> Option<DatedPrice> {
    table.declare(PRICE_KEYS.keys);
    let from = read_date(table, "from", context);
    let until = if table.has("until") { read_until(table, context).map(Some) } else { Some(None) };
    let terms = read_terms(table, basis, context.currency);
    let ((from_date, from), until) = (from?, until?);
    if let Some((until_date, until)) = until
        && until <= from
    {
        let message = format!("the price ends on {until_date}, before or when it begins on {from_date}");
        table.problem(table.line_of("until"), message, "make `until` later than `from`, or remove the price");
        return None;
    }
    let (until_date, until) = until.unzip();
    let model = terms.as_ref().map(|terms| &terms.model);
    if let (Some(PriceModel::Flat { every: Recurrence::Month, prorate: None, .. }), Some(anchor)) =
        (model, context.anchor)
        && never_begins_a_period(anchor, from_date, until_date)
    {
        let message = format!(
            "{} is in force on no first day of a month, so it never bills; a monthly amount is due in the \
             months at whose beginning its price is in force",
            table.name()
        );
        table.warning(table.line, message);
    }
    if let Some(whole) = whole {
        let dates = [Some(("from", from_date)), until_date.map(|date| ("until", date))];
        refuse_within_a_period(table, context, whole, dates)?;
    }
    Some(DatedPrice { from, until, from_date, until_date, terms: terms?, line: table.line })
}

/// Whether no billing period begins within `[from, until)`.
fn never_begins_a_period(anchor: Anchor, from: Date, until: Option<Date>) -> bool {
    let mut day = Some(from);
    // One begins within 31 days, whatever the anchor.
    for _ in 0..=31 {
        match day {
            None => return true,
            Some(day) if until.is_some_and(|until| until <= day) => return true,
            Some(day) if anchor.begins_on(day) => return false,
            Some(_) => day = day.and_then(|day| day.tomorrow().ok()),
        }
    }
    true
}

/// Refuses a price that begins or ends inside a billing period, where that period has one line.
pub(super) fn refuse_within_a_period(
    table: &Table<'_>,
    context: &Context<'_>,
    whole: &str,
    dates: [Option<(&str, Date)>; 2],
) -> Option<()> {
    let anchor = context.anchor?;
    let mut fine = Some(());
    for (key, date) in dates.into_iter().flatten().filter(|(_, date)| !anchor.begins_on(*date)) {
        let what = if key == "from" { "begins" } else { "ends" };
        let message = format!(
            "{} {what} on {date}, inside a billing period, {whole}; billing periods begin on day {anchor} of \
             a month, or on its last",
            table.name()
        );
        table.problem(
            table.line_of(key),
            message,
            format!("let `{key}` be the first day of a billing period"),
        );
        fine = None;
    }
    fine
}

/// The end of a price. One that stands for no end is better left out, and may be none of the
/// calendar.
fn read_until(table: &Table<'_>, context: &Context<'_>) -> Option<(Date, Instant)> {
    let text = table.text("until")?;
    if !means_for_ever(text.value) {
        return read_date(table, "until", context);
    }
    const LEAVE_OUT: &str = "leave it out where no end is known";
    match parse_date(text.value, context) {
        Ok(date) => {
            table.warning(text.line, format!("`until = {:?}`; {LEAVE_OUT}", text.value));
            Some(date)
        }
        Err(error) => {
            table.problem(text.line, format!("`until = {:?}` is not a date: {error}", text.value), LEAVE_OUT);
            None
        }
    }
}

/// A date and the instant of its midnight in the provider's time zone.
#[track_caller]
pub(super) fn read_date(table: &Table<'_>, key: &str, context: &Context<'_>) -> Option<(Date, Instant)> {
    table.parsed(key, "a date", |text| parse_date(text, context))
}

fn parse_date(text: &str, context: &Context<'_>) -> Result<(Date, Instant), String> {
    let date = day(text)?;
    let midnight = start_of_day(date, context.time_zone).map_err(|error| error.to_string())?;
    Ok((date, midnight))
}
