//! Words for what stands in more than one explanation: numbers, cost lines, and lines of statements with
//! their grants, rates and invoices.

use super::reader::Reader;
use rating::catalog::Catalog;
use rating::exact;
use rating::rounding;
use rating::run::{CostLine, PostedLine};
use rating::statement::{Grant, Pair, Rate};
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
    let quantity = match line.unit.as_deref() {
        None | Some("1") => line.quantity.to_string(),
        Some(unit) => format!("{} {unit}", line.quantity),
    };
    lines.push(format!(
        "  {quantity} cost {} {currency}; the invoice line settles at {} {currency}",
        line.amount,
        money(line.settled),
        currency = line.currency
    ));
    lines
}

/// A line of a statement: lines of text.
pub(super) fn statement_line(line: &PostedLine, to: &Reader<'_>) -> Vec<String> {
    let catalog = to.catalog;
    let grant = line.grant.as_ref().map(|grant| format!(", grant {grant}")).unwrap_or_default();
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

/// A line of a statement, with its grant and rate.
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
        "grant": line.grant.as_ref().map(ToString::to_string),
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
