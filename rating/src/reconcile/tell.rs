//! A row in words: both figures, what differs, what may have happened, and how it is decided.
//!
//! Nothing is deliberately decided here, and texts of others are not escaped: whoever prints does that.
//!
//! Invariant: the command that is told fits the row.

use super::row::{Class, Hint, Row, Status};
use crate::exact::{Exact, display};
use crate::rounding;
use schemas::decimal::Amount;
use std::fmt::Display;

/// A row for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The row, like `lynx LX-PORT of acme`.
    pub name: String,
    /// Both figures and what differs: a sentence.
    pub what: String,
    /// What may have happened: a sentence.
    pub hint: Option<String>,
    /// The command that accepts it; `dispute`, `explain` and `reopen` take the same words. None of a row
    /// that cannot be decided.
    pub command: Option<String>,
}

pub fn tell(row: &Row) -> Told {
    let hint = row.hint.as_ref().map(hint).or_else(|| map(row));
    Told { name: name(row), what: what(row), hint, command: command(row) }
}

fn name(row: &Row) -> String {
    let thing = match (&row.sku, row.invoice_text.as_deref()) {
        (Some(sku), _) => sku.as_str(),
        (None, Some(text)) => text,
        (None, None) => "without a text",
    };
    let account = row.sub_account.as_ref().map(|account| format!(" of {account}"));
    format!("{} {thing}{}", row.provider, account.unwrap_or_default())
}

fn what(row: &Row) -> String {
    let invoice = said("the invoice says", row.invoice_amount, &row.invoice_quantity, row.currency);
    let ledger = row.ledger_settled.map(|settled| settled.currency).unwrap_or(row.currency);
    let ledger = said("the ledger", row.ledger_amount, &row.ledger_quantity, ledger);
    let differs = differs(row).map(|differs| format!(": {differs}"));
    let sentence = format!("{invoice}, {ledger}{}", differs.unwrap_or_default());
    // The first word begins a sentence.
    format!("T{}", &sentence[1..])
}

fn said(who: &str, amount: Option<Amount>, quantity: &Option<Exact>, currency: impl Display) -> String {
    let quantity = quantity.as_ref().map(|quantity| format!(" for {}", digits(quantity)));
    match amount {
        None => format!("{who} nothing"),
        Some(amount) => format!("{who} {amount} {currency}{}", quantity.unwrap_or_default()),
    }
}

/// None of a match in which nothing differs.
fn differs(row: &Row) -> Option<String> {
    let by = |variance: &Option<Exact>| variance.as_ref().map_or_else(|| "0".to_owned(), digits);
    Some(match row.class? {
        Class::Duplicate => "a line repeats another of the same invoice".to_owned(),
        Class::Tax | Class::Credit | Class::Fee | Class::Adjustment => match row.status {
            None => "invoice.toml says who bears it".to_owned(),
            Some(_) => "invoice.toml does not say who bears it".to_owned(),
        },
        Class::Unmapped => "no SKU is known by that text, account and sub account".to_owned(),
        Class::Currency => "it is in another currency than the provider's".to_owned(),
        Class::Rounding => match row.status {
            None => "both are the same but for rounding".to_owned(),
            Some(_) => "it is a rounding, and the provider's add up to too much for that".to_owned(),
        },
        Class::Restated => match row.before {
            Some(before) => format!("the version before said {before}"),
            None => "the version before said something else".to_owned(),
        },
        Class::Timing if row.cost_lines.is_empty() => {
            format!("it was used from {} until {}, in another month", row.start, row.end)
        }
        Class::Timing => "the lines cover a part of the time, and say what was used in it".to_owned(),
        Class::MissingInLedger => "nothing of it was metered".to_owned(),
        Class::Awaited => "the provider's invoice is not here, or only a part of it".to_owned(),
        Class::MissingOnInvoice => "no line of the provider's invoices is for it".to_owned(),
        Class::Amount => "what the price list makes of the invoice's quantity cannot be said".to_owned(),
        Class::Price => format!("the price differs, which makes {}", by(&row.price_variance)),
        Class::Quantity => format!("the quantity differs, which makes {}", by(&row.quantity_variance)),
        Class::QuantityAndPrice => format!(
            "the quantity differs, which makes {}, and the price, which makes {}",
            by(&row.quantity_variance),
            by(&row.price_variance)
        ),
    })
}

fn hint(hint: &Hint) -> String {
    match hint {
        Hint::Factor(factor) => {
            format!("The quantities differ by {}, as units do: see [units] of invoice.toml", display(factor))
        }
        Hint::Map(sku) => {
            format!("{sku} is missing and costs the same: the text may be its name, for invoice_map.csv")
        }
        Hint::Repeats(line, first) => format!("Line {line} repeats line {first}"),
    }
}

/// Where meanings of texts are proposed.
fn map(row: &Row) -> Option<String> {
    let provider = quoted(row.provider.as_str());
    let command = || format!("atcost invoice map --provider {provider} --period {}", row.period);
    let is_unmapped = row.class == Some(Class::Unmapped) && row.invoice_text.is_some();
    is_unmapped.then(|| format!("`{}` proposes what the text may mean", command()))
}

fn command(row: &Row) -> Option<String> {
    if row.status.is_none_or(|status| status == Status::Awaited) {
        return None;
    }
    let mut command = format!(
        "atcost reconcile accept --provider {} --period {}",
        quoted(row.provider.as_str()),
        row.period
    );
    let mut word = |key: &str, value: Option<&str>| {
        command.push_str(&format!(" --{key} {}", quoted(value.unwrap_or_default())));
    };
    word("sku", row.sku.as_ref().map(|sku| sku.as_str()));
    if row.sub_account.is_some() {
        word("sub-account", row.sub_account.as_deref());
    }
    word("class", row.class.map(Class::as_str));
    if row.sku.is_none() {
        word("text", row.invoice_text.as_deref());
    }
    command.push_str(" --reason … --by …");
    Some(command)
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// To the places of a table, or in full where it is larger than one can say.
fn digits(value: &Exact) -> String {
    rounding::amount(value).map_or_else(|_| display(value), |amount| amount.to_string())
}
