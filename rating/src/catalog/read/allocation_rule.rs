//! The allocation of a SKU: which rule shares its cost, and among whom.
//!
//! Sharing itself is `allocation`.
//!
//! Invariant: a rule that shares by usage belongs to a SKU with a meter.

use super::definitions::{CUSTOMERS, Context};
use super::toml::{Table, Text};
use crate::allocation::Rule;
use schemas::decimal::{Quantity, Sign};
use schemas::id::CustomerId;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn read_allocation(table: &Table<'_>, is_metered: bool, context: &Context<'_>) -> Option<Rule> {
    let text = table.text("allocation")?;
    let mut fine = true;
    for (key, rule) in [("among", "even"), ("shares", "fixed")] {
        if table.has(key) && text.value != rule {
            table.problem(
                table.line_of(key),
                format!("`{key}` belongs to the allocation {rule}, not {}", text.value),
                format!("remove `{key}`"),
            );
            fine = false;
        }
    }
    let rule = match text.value {
        "proportional" => Some(Rule::Proportional),
        "direct" => Some(Rule::Direct),
        "even" if !table.has("among") => Some(Rule::Even { among: None }),
        "even" => read_among(table, context).map(|among| Rule::Even { among: Some(among) }),
        "fixed" => read_shares(table, context).map(|shares| Rule::Fixed { shares }),
        other => {
            let known = matches!(other, "standalone" | "by_meter");
            let message = format!(
                "the allocation `{other}` is {}",
                if known { "known but not supported" } else { "not known" }
            );
            table.problem(text.line, message, "use one of: proportional, direct, even, fixed");
            None
        }
    };
    if let Some(rule) = &rule
        && rule.needs_usage()
        && !is_metered
    {
        let message = format!("{} has no meter, so there is no usage to share it by", table.name());
        table.problem(text.line, message, "use `even` or `fixed`, or add the `meter`");
        fine = false;
    }
    rule.filter(|_| fine)
}

fn refuse_unknown_customer(table: &Table<'_>, customer: &CustomerId, line: usize, context: &Context<'_>) {
    if !context.customers.knows(customer) {
        table.problem(
            line,
            format!("the customer {customer} is not declared"),
            context.customers.help(CUSTOMERS),
        );
    }
}

fn read_customer(table: &Table<'_>, text: Text<'_>, context: &Context<'_>) -> Option<CustomerId> {
    let id = CustomerId::new(text.value);
    match &id {
        Ok(customer) => refuse_unknown_customer(table, customer, text.line, context),
        Err(error) => table.problem(
            text.line,
            format!("{:?} is not a customer's id: {error}", text.value),
            "correct it",
        ),
    }
    id.ok()
}

fn read_among(table: &Table<'_>, context: &Context<'_>) -> Option<BTreeSet<CustomerId>> {
    let texts = table.texts("among")?;
    let mut among = BTreeSet::new();
    if texts.is_empty() {
        table.problem(
            table.line_of("among"),
            "`among` names no customer",
            "list at least one, or remove it to share among all with a binding",
        );
    }
    for text in texts {
        if let Some(customer) = read_customer(table, text, context)
            && !among.insert(customer)
        {
            table.problem(
                text.line,
                format!("the customer {} is listed twice", text.value),
                "remove one of them",
            );
        }
    }
    Some(among)
}

fn read_shares(table: &Table<'_>, context: &Context<'_>) -> Option<BTreeMap<CustomerId, Quantity>> {
    let entries = table.table("shares", format!("the shares of {}", table.name()))?;
    let mut shares = BTreeMap::new();
    let mut fine = true;
    for key in entries.keys() {
        let customer = read_customer(table, key, context);
        let share = entries.decimal(key.value, "a share", Sign::NonNegative);
        match (customer, share) {
            (Some(customer), Some(share)) => {
                shares.insert(customer, share);
            }
            _ => fine = false,
        }
    }
    if fine && shares.values().all(|share| share.is_zero()) {
        let what = if shares.is_empty() { "names nobody" } else { "is zero for everybody" };
        table.problem(
            entries.line,
            format!("`shares` {what}"),
            "give at least one customer a share above zero",
        );
    }
    fine.then_some(shares)
}
