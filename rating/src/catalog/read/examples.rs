//! The worked examples of a SKU, evaluated against its prices.
//!
//! An example changes no price; it holds or it is a problem.
//!
//! Invariant: every example of a catalog that loads was computed anew and gave its amount.

use super::dated_price::read_date;
use super::definitions::Context;
use super::format::EXAMPLE_KEYS;
use super::toml::Table;
use crate::catalog::contents::{DatedPrice, Example};
use crate::exact::{Exact, display, exact};
use crate::price::{self, Basis, PriceModel, Step, Stretch, Terms};
use crate::rounding::{self, Places};
use jiff::civil::Date;
use num_traits::{One as _, Zero as _};
use schemas::decimal::{Amount, QuantityTotal, Sign};
use schemas::money::Currency;

/// The worked examples. They are evaluated only when all of the SKU's prices could be read.
pub(super) fn read_examples(
    table: &Table<'_>,
    basis: Basis,
    unit: &str,
    prices: Option<&[DatedPrice]>,
    context: &Context<'_>,
) -> Option<Vec<Example>> {
    let tables = table.tables("example", &format!("this example of {}", table.name()))?;
    let read = |example: &Table<'_>| {
        example.only(EXAMPLE_KEYS.keys);
        let on = read_date(example, "on", context);
        let amount: Option<Amount> = example.decimal("amount", "an amount", Sign::Any);
        let quantity: Option<Option<QuantityTotal>> = if basis != Basis::Nothing {
            example.decimal("quantity", "a quantity", Sign::NonNegative).map(Some)
        } else {
            match example.optional_text("quantity") {
                Some(text) if text.value != "1" => {
                    let message = format!(
                        "{} has no meter, so its amount is the same for every quantity",
                        table.name()
                    );
                    example.problem(text.line, message, "remove `quantity`");
                    None
                }
                _ => Some(None),
            }
        };
        let ((on, midnight), quantity, amount) = (on?, quantity?, amount?);
        if let Some(prices) = prices {
            let Some(price) = prices.iter().find(|price| price.contains(midnight)) else {
                example.problem(
                    example.line_of("on"),
                    format!("{} has no price on {on}", table.name()),
                    "correct the date, or add the price",
                );
                return None;
            };
            let money = |amount: Amount| in_currency(amount, context.currency);
            check_example(example, (&price.terms, context.steps), quantity, unit, on, amount, money)?;
        }
        Some(Example { on, quantity, amount, line: example.line })
    };
    tables.iter().map(read).collect::<Vec<_>>().into_iter().collect()
}

fn check_example(
    example: &Table<'_>,
    (terms, places): (&Terms, Option<Places>),
    quantity: Option<QuantityTotal>,
    unit: &str,
    on: Date,
    amount: Amount,
    money: impl Fn(Amount) -> String,
) -> Option<()> {
    let count = quantity.map_or_else(Exact::zero, exact);
    let steps = match &terms.model {
        PriceModel::Flat { amount, .. } => price::flat(*amount, &Exact::one()),
        PriceModel::Minimum { .. } | PriceModel::Maximum { .. } => {
            price::on_lines(terms, &count, &Exact::zero(), places)
        }
        PriceModel::Credit { amount, .. } => price::on_lines(terms, &count, &exact(*amount), places),
        _ => price::steps(terms, &Stretch::whole(terms.counted(&count)), places),
    };
    let line = example.line_of("amount");
    match rounding::amount(&price::total(&steps)) {
        Ok(total) if total == amount => Some(()),
        Ok(total) => {
            let what =
                quantity.map_or_else(|| "it costs".to_owned(), |quantity| format!("{quantity} {unit} cost"));
            let message =
                format!("{what} {} on {on}, not {}: {}", money(total), money(amount), arithmetic(&steps));
            example.problem(line, message, "correct the example, or the price if the example is right");
            None
        }
        Err(error) => {
            example.problem(
                line,
                format!("the example cannot be evaluated: {error}"),
                "use a smaller quantity",
            );
            None
        }
    }
}

/// `47 EUR`; the amount alone where the provider's file does not say which currency it is.
fn in_currency(amount: Amount, currency: Option<Currency>) -> String {
    currency.map_or_else(|| amount.to_string(), |currency| format!("{amount} {currency}"))
}

/// `100 × 0.1 + 400 × 0.08`.
fn arithmetic(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|step| format!("{} × {}", display(&step.quantity), display(&step.unit_price)))
        .collect::<Vec<_>>()
        .join(" + ")
}
