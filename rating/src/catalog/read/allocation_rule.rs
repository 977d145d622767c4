//! The allocation of a SKU: which rule shares its cost, and among whom.
//!
//! Sharing itself is `allocation`.
//!
//! Invariant: a rule that shares by usage belongs to a SKU with a meter, or one that is priced by the
//! lines of others.

use super::definitions::Context;
use super::format::{CUSTOMERS, METERS, SKU_KEYS, TableKeys};
use super::toml::{Table, Text, name};
use crate::allocation::{Rule, RuleName};
use crate::price::Basis;
use schemas::decimal::{Quantity, Sign};
use schemas::id::{CustomerId, MeterType};
use std::collections::{BTreeMap, BTreeSet};

/// How one rule is written.
struct Reader {
    /// Its keys, beside those that every SKU has.
    keys: &'static [&'static str],
    read: fn(&Table<'_>, &Context<'_>) -> Option<Rule>,
}

fn reader(rule: RuleName) -> Reader {
    match rule {
        RuleName::Proportional => Reader { keys: &[], read: |_, _| Some(Rule::Proportional) },
        RuleName::Standalone => Reader { keys: &[], read: |_, _| Some(Rule::Standalone) },
        RuleName::Direct => Reader { keys: &[], read: |_, _| Some(Rule::Direct) },
        RuleName::ByMeter => Reader { keys: &["key"], read: read_by_meter },
        RuleName::Even => Reader { keys: &["among"], read: read_even },
        RuleName::Fixed => Reader {
            keys: &["shares"],
            read: |table, context| Some(Rule::Fixed { shares: read_shares(table, context)? }),
        },
    }
}

/// The keys that a SKU has with a rule, beside those of [`SKU_KEYS`].
pub(super) fn keys(rule: RuleName) -> TableKeys {
    TableKeys { with: Some(("allocation", rule.as_str())), keys: reader(rule).keys, ..SKU_KEYS }
}

/// The keys of all rules are known to a SKU, so that one of another rule is told from a misspelt
/// one.
pub(super) fn declare_rules(table: &Table<'_>) {
    for rule in RuleName::ALL {
        table.declare(reader(rule).keys);
    }
}

pub(super) fn read_allocation(table: &Table<'_>, basis: Basis, context: &Context<'_>) -> Option<Rule> {
    let text = table.text("allocation")?;
    let name = RuleName::parse(text.value);
    let in_place = refuse_keys_of_others(table, name, text.value);
    let Some(name) = name else {
        let all = RuleName::ALL.map(RuleName::as_str).join(", ");
        table.problem(
            text.line,
            format!("the allocation `{}` of {} is not known", text.value, table.name()),
            format!("use one of: {all}"),
        );
        return None;
    };
    let rule = (reader(name).read)(table, context)?;
    if name.needs_usage() && basis == Basis::Nothing {
        let message = format!("{} has no meter, so there is no usage to share it by", table.name());
        table.problem(text.line, message, "use `even` or `fixed`, or add the `meter`");
        return None;
    }
    if rule == Rule::Standalone && basis != Basis::Usage {
        let message = format!("{} has no meter, so nobody would pay anything for it alone", table.name());
        table.problem(text.line, message, "use another allocation, like `proportional`");
        return None;
    }
    in_place.then_some(rule)
}

/// A key that the rule does not look at would be ignored. Whether there was none.
fn refuse_keys_of_others(table: &Table<'_>, own: Option<RuleName>, word: &str) -> bool {
    let own = own.map_or(&[][..], |rule| reader(rule).keys);
    let mut fine = true;
    for rule in RuleName::ALL {
        for key in reader(rule).keys.iter().filter(|key| table.has(key) && !own.contains(key)) {
            table.problem(
                table.line_of(key),
                format!("`{key}` of {} belongs to the allocation {rule}, not {word}", table.name()),
                format!("remove `{key}`"),
            );
            fine = false;
        }
    }
    fine
}

fn read_even(table: &Table<'_>, context: &Context<'_>) -> Option<Rule> {
    let among = if table.has("among") { Some(read_among(table, context)?) } else { None };
    Some(Rule::Even { among })
}

fn read_by_meter(table: &Table<'_>, context: &Context<'_>) -> Option<Rule> {
    let key = table.parsed("key", "a meter's name", name(MeterType::new))?;
    if !context.meters.knows(&key) && context.trial.is_none() {
        table.problem(
            table.line_of("key"),
            format!("the meter {key}, the key of {}, is not declared", table.name()),
            context.meters.help(METERS),
        );
        return None;
    }
    Some(Rule::ByMeter { key })
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
    let entries = table.table("shares", format!("the shares of {}", table.name()))?.of_names();
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
