//! `atcost price`: what a quantity costs by the prices of a file.

use crate::show::{Answer, plural, printable};
use anyhow::{Context as _, bail};
use rating::catalog::{PriceSheet, Problem, Warning};
use rating::exact::{self, exact};
use rating::price::Step;
use rating::trial::{self, Line, Question};
use rating::units::Unit;
use schemas::decimal::{QuantityTotal, Sign};
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// The largest file of prices that is read.
const MOST_BYTES: u64 = 16 << 20;

/// A quantity, as an argument says it.
///
/// # Errors
/// A sentence, where it is none.
pub fn quantity(text: &str) -> Result<QuantityTotal, String> {
    QuantityTotal::parse(text, Sign::NonNegative).map_err(|error| error.to_string())
}

/// What a quantity costs, and in which currency.
pub struct Priced {
    answer: trial::Answer,
    currency: Option<Currency>,
    warnings: Vec<Warning>,
}

/// Prices a quantity by the prices of a file.
///
/// # Errors
/// When the file cannot be read or has problems, or the question has no answer.
pub fn price(
    file: &Path,
    quantity: QuantityTotal,
    before: QuantityTotal,
    unit: Option<&Unit>,
    month: Option<BillingMonth>,
) -> anyhow::Result<Priced> {
    let name = file.display().to_string();
    let bytes = std::fs::metadata(file).with_context(|| format!("reading {name}"))?.len();
    if bytes > MOST_BYTES {
        bail!("{name} has {bytes} bytes; a file of prices has at most {MOST_BYTES}");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    let (sheet, warnings) = match PriceSheet::read(&name, &text, unit) {
        Ok(read) => read,
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
            bail!(
                "{} in the prices\n{}",
                plural(problems.len() as u64, "problem", "problems"),
                problems.join("\n")
            );
        }
    };
    let question = Question { quantity: exact(quantity), before: exact(before), month };
    let answer = trial::price(&sheet, &question)?;
    Ok(Priced { answer, currency: sheet.currency, warnings })
}

fn money(money: Money) -> String {
    money
        .to_amount()
        .map_or_else(|| format!("{} minor units", money.minor_units), |amount| amount.to_string())
}

impl Answer for Priced {
    fn json(&self) -> anyhow::Result<Value> {
        let lines: Vec<Value> = self.answer.lines.iter().map(line_json).collect();
        let mut json = json!({ "amount": exact::display(&self.answer.amount), "lines": lines });
        if let (Some(currency), Some(settled)) = (self.currency, &self.answer.settled) {
            json["currency"] = json!(currency.code());
            json["settled"] = json!(exact::display(settled));
        }
        if !self.warnings.is_empty() {
            json["warnings"] = self.warnings.iter().map(Warning::to_string).collect();
        }
        Ok(json)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut say = |line: String| {
            writeln!(text, "{}", printable(&line).trim_end()).expect("writing to a string cannot fail");
        };
        let currency = self.currency.map_or_else(String::new, |currency| format!(" {currency}"));
        for warning in &self.warnings {
            say(format!("warning: {warning}"));
        }
        for line in &self.answer.lines {
            let quantity = match &line.metered_quantity {
                Some(metered) if *metered != line.quantity => {
                    format!("{}, counted as {}", exact::display(metered), exact::display(&line.quantity))
                }
                _ => exact::display(&line.quantity),
            };
            say(format!("{}: {quantity}", line.sku));
            for step in &line.steps {
                let [quantity, price, amount] =
                    [&step.quantity, &step.unit_price, &step.amount].map(exact::display);
                say(format!("  {}: {quantity} × {price} = {amount}{currency}", step.label));
            }
            let settled =
                line.settled.map_or_else(String::new, |settled| format!(", settles at {}", money(settled)));
            say(format!("  {}{currency}{settled}", line.amount));
            for (customer, amount, settled) in &line.shares {
                let settled =
                    settled.map_or_else(String::new, |settled| format!(", settled {}", money(settled)));
                say(format!("    {customer}: {amount}{settled}"));
            }
        }
        let settled = self
            .answer
            .settled
            .as_ref()
            .map_or_else(String::new, |settled| format!(", settles at {}", exact::display(settled)));
        say(format!("together {}{currency}{settled}", exact::display(&self.answer.amount)));
        text
    }
}

/// The arithmetic of a line, for programs.
pub(super) fn steps_json(steps: &[Step]) -> Value {
    let step = |step: &Step| {
        json!({
            "label": step.label,
            "from": step.from.as_ref().map(exact::display),
            "to": step.to.as_ref().map(exact::display),
            "quantity": exact::display(&step.quantity),
            "unit_price": exact::display(&step.unit_price),
            "amount": exact::display(&step.amount),
        })
    };
    steps.iter().map(step).collect()
}

fn line_json(line: &Line) -> Value {
    let mut json = json!({
        "sku": line.sku.as_str(),
        "quantity": exact::display(&line.quantity),
        "metered_quantity": line.metered_quantity.as_ref().map(exact::display),
        "amount": line.amount.to_string(),
        "steps": steps_json(&line.steps),
    });
    if let Some(settled) = line.settled {
        json["settled"] = json!(money(settled));
    }
    if !line.shares.is_empty() {
        let share = |(customer, amount, settled): &(_, schemas::decimal::Amount, Option<Money>)| {
            let customer: &schemas::id::CustomerId = customer;
            let mut share = json!({ "customer": customer.as_str(), "amount": amount.to_string() });
            if let Some(settled) = settled {
                share["settled"] = json!(money(*settled));
            }
            share
        };
        json["shares"] = line.shares.iter().map(share).collect();
    }
    json
}
