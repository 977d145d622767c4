//! Words for what stands in more than one explanation: numbers, cost lines, and lines of statements with
//! their grants, rates and invoices.

use super::reader::Reader;
use crate::verbs::price::steps_json;
use rating::catalog::{Catalog, DatedPrice};
use rating::exact;
use rating::rounding;
use rating::run::{CostLine, PostedLine};
use rating::statement::{Grant, Pair, Rate};
use rating::tables::cost_line_json as columns;
use schemas::decimal::QuantityTotal;
use schemas::money::Money;
use serde_json::json;

/// An exact number; one that decimals cannot say is a fraction, with its beginning in decimals.
pub(super) fn number(value: &exact::Exact) -> String {
    let exact = exact::display(value);
    match rounding::amount(value) {
        Ok(rounded) if exact.contains('/') => format!("{exact} (≈ {rounded})"),
        Ok(_) | Err(_) => exact,
    }
}

pub(super) fn money(money: Money) -> String {
    money.to_amount().map_or_else(String::new, |amount| amount.to_string())
}

/// A cost line, from its price to what it settles at: lines of text.
pub(super) fn cost_line(line: &CostLine, catalog: &Catalog) -> Vec<String> {
    let provider = catalog.providers.get(&line.key.provider);
    let provider_name = provider.map_or("", |provider| provider.name.as_str());
    let sku = provider.and_then(|provider| provider.sku(&line.key.sku));
    let sub_account =
        line.key.sub_account.as_ref().map(|account| format!(", sub account {account}")).unwrap_or_default();
    let mut lines = vec![
        format!("cost line {}", line.id),
        format!(
            "  {} ({provider_name}), account {}{sub_account}",
            line.key.provider, line.key.billing_account
        ),
        format!("  {} {}", line.key.sku, sku.map_or("", |sku| sku.name.as_str())),
        format!("  charge period {}", line.key.charge_period),
        format!("  price in force since {}, {}", line.key.price_from, line.model),
    ];
    if let Some(price) = price(line, catalog) {
        lines.extend(counted(line, price));
    }
    for step in &line.steps {
        let span = match (&step.from, &step.to) {
            (Some(from), Some(to)) => format!(" ({} to {})", exact::display(from), exact::display(to)),
            (Some(from), None) => format!(" (above {})", exact::display(from)),
            (None, _) => String::new(),
        };
        lines.push(format!(
            "    {}{span}: {} × {} = {} {}",
            step.label,
            number(&step.quantity),
            number(&step.unit_price),
            number(&step.amount),
            line.currency
        ));
    }
    let quantity = in_unit(line, line.quantity);
    lines.push(format!(
        "  {quantity} cost {} {currency}; the invoice line settles at {} {currency}",
        line.amount,
        money(line.settled),
        currency = line.currency
    ));
    lines
}

/// The price that a cost line has.
fn price<'c>(line: &CostLine, catalog: &'c Catalog) -> Option<&'c DatedPrice> {
    let sku = catalog.providers.get(&line.key.provider)?.sku(&line.key.sku)?;
    sku.prices.iter().find(|price| price.from == line.key.price_from)
}

fn in_unit(line: &CostLine, quantity: QuantityTotal) -> String {
    match line.unit.as_deref() {
        None | Some("1") => quantity.to_string(),
        Some(unit) => format!("{quantity} {unit}"),
    }
}

/// What a price does with a quantity before the steps: lines of text.
fn counted(line: &CostLine, price: &DatedPrice) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(increment) = price.terms.increment {
        let metered = line.metered_quantity.filter(|metered| *metered != line.quantity);
        let metered = metered
            .map(|metered| format!(": {} count as {}", in_unit(line, metered), in_unit(line, line.quantity)));
        lines.push(format!(
            "  counted in multiples of {}, rounded {}{}",
            in_unit(line, increment.size.get()),
            increment.mode,
            metered.unwrap_or_default()
        ));
    }
    if price.terms.free > QuantityTotal::ZERO {
        lines.push(format!(
            "  the first {} of a billing period cost nothing; steps count from there",
            in_unit(line, price.terms.free)
        ));
    }
    lines
}

/// A cost line with its arithmetic, and what its price does with a quantity before that.
pub(super) fn cost_line_json(line: &CostLine, catalog: &Catalog) -> serde_json::Value {
    let terms = price(line, catalog).map(|price| &price.terms);
    let increment = terms.and_then(|terms| terms.increment);
    let free = terms.map(|terms| terms.free).filter(|free| *free > QuantityTotal::ZERO);
    let mut json = columns(line, catalog);
    json.extend([
        (
            "increment".to_owned(),
            json!(increment.map(|by| json!({ "size": by.size.get().to_string(), "mode": by.mode.as_str() }))),
        ),
        ("free".to_owned(), json!(free.map(|free| free.to_string()))),
        ("steps".to_owned(), steps_json(&line.steps)),
    ]);
    json.into()
}

/// A line of a statement that the reader may see: lines of text.
pub(super) fn statement_line(line: &PostedLine, to: &Reader<'_>) -> Vec<String> {
    let catalog = to.catalog;
    let grant = grant_words(line, to);
    let invoice = match (&line.of.invoice, line.correction) {
        (_, Some(correction)) => format!(", {} of {}", correction.entry, line.month),
        (Some(invoice), None) => format!(", of invoice {invoice}"),
        (None, None) => String::new(),
    };
    let done = match line.kind.retained_reason() {
        None => "billed".to_owned(),
        Some(reason) => format!("retained ({reason})"),
    };
    let whom = line.customer.as_ref().filter(|_| line.kind.is_billed());
    let whom = whom.map(|customer| format!(" to {}", to.name(Some(customer)))).unwrap_or_default();
    let mut lines = vec![
        format!("statement line {}{invoice}{grant}", line.id),
        format!(
            "  {} {}, {done} by {}{whom}",
            money(line.money),
            line.money.currency,
            line.biller.as_str(&catalog.operator)
        ),
    ];
    if let Some(billed) = &line.billed {
        let converted = match (billed.rate, rate(line, catalog)) {
            (None, _) => String::new(),
            (Some(rate), known) => {
                let source = known.map_or_else(String::new, |rate| format!(" ({})", rate.source));
                format!(", at {rate}{source}; rounded within the running total of the bill")
            }
        };
        lines.push(format!("  {} {}{converted}", money(billed.money), billed.money.currency));
    }
    if let Some(grant) = grant_of(line, catalog) {
        let until = grant.until.map(|until| format!(" until {until}")).unwrap_or_default();
        lines.push(format!(
            "  {} pays {} of what {} is billed in {}, up to {} in all, from {}{until}; what is granted before is taken off",
            to.name(Some(&grant.funder)),
            exact::display(&grant.share),
            to.name(Some(&grant.customer)),
            grant.currency,
            exact::display(&grant.amount),
            grant.from
        ));
    }
    lines
}

/// The recorded rate that a line is converted at.
pub(super) fn rate<'c>(line: &PostedLine, catalog: &'c Catalog) -> Option<&'c Rate> {
    let billed = line.billed.as_ref().filter(|billed| billed.rate.is_some())?;
    let pair = Pair { month: line.month, from: line.money.currency, to: billed.money.currency };
    catalog.rates.as_ref()?.get(pair)
}

/// The grant that a line is a part of.
fn grant_of<'c>(line: &PostedLine, catalog: &'c Catalog) -> Option<&'c Grant> {
    let id = line.grant.as_ref()?;
    catalog.grants.iter().find(|grant| grant.id == *id)
}

/// The id of the grant that a line is a part of: where the reader may see both sides of it, because
/// whoever named it may have named it after them.
pub(super) fn grant_id<'l>(line: &'l PostedLine, to: &Reader<'_>) -> Option<&'l str> {
    let grant = grant_of(line, to.catalog);
    let is_seen = to.sees_all()
        || grant.is_some_and(|grant| to.may_see(Some(&grant.funder)) && to.may_see(Some(&grant.customer)));
    line.grant.as_ref().filter(|_| is_seen).map(|grant| grant.as_str())
}

pub(super) fn grant_words(line: &PostedLine, to: &Reader<'_>) -> String {
    match (&line.grant, grant_id(line, to)) {
        (None, _) => String::new(),
        (Some(_), Some(id)) => format!(", grant {id}"),
        (Some(_), None) => ", a grant".to_owned(),
    }
}

/// A line of a statement that the reader may see, with its grant and rate.
pub(super) fn statement_json(line: &PostedLine, to: &Reader<'_>) -> serde_json::Value {
    let catalog = to.catalog;
    let billed = line.billed.as_ref();
    let grant = grant_of(line, catalog).map(|grant| {
        json!({
            "funder": to.name(Some(&grant.funder)), "customer": to.name(Some(&grant.customer)),
            "share": exact::display(&grant.share), "amount": exact::display(&grant.amount),
            "currency": grant.currency.code(), "from": grant.from.to_string(),
            "until": grant.until.map(|until| until.to_string()),
        })
    });
    json!({
        "statement_line_id": line.id.to_string(),
        "biller": line.biller.as_str(&catalog.operator),
        "customer": line.customer.as_ref().map(|customer| to.name(Some(customer))),
        "kind": line.kind.as_str(),
        "retained_reason": line.kind.retained_reason().map(|reason| reason.to_string()),
        "grant": grant_id(line, to),
        "grant_terms": grant,
        "amount": money(line.money),
        "currency": line.money.currency.code(),
        "billed_amount": billed.map(|billed| money(billed.money)),
        "billed_currency": billed.map(|billed| billed.money.currency.code()),
        "rate": billed.and_then(|billed| Some(billed.rate?.to_string())),
        "rate_source": rate(line, catalog).map(|rate| rate.source.clone()),
        "invoice": line.of.invoice.as_ref().map(ToString::to_string),
        "category": line.of.category.as_str(),
    })
}
