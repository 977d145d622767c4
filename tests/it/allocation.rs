//! The bearers of a cost line: one file per rule or trap in tests/cases/allocation. Lines that
//! begin with a word (`amount`, `rule`, `internal`, `bound`, `usage`, `alone`, `base`, `account`), a line
//! of `---`, then every share and statement line in order.

use crate::cases;
use rating::allocation::{Alone, Bearers, Borne, Kind, Rule, SubjectUsage, shares};
use rating::exact::{Exact, display, exact};
use rating::rounding::{RoundingMode, settle};
use rating::statement::{Partners, statement};
use schemas::decimal::{Amount, Quantity, QuantityTotal, Sign};
use schemas::id::{CustomerId, Subject};
use schemas::money::Currency;
use std::collections::BTreeSet;
use std::fmt::Write as _;

#[test]
fn allocations() {
    cases::for_each_file("allocation", check);
}

fn check(case: &str) -> String {
    let (question, _) = case.split_once("---\n").expect("a case has a question and a line of ---");
    format!("{question}---\n{}", answer(question).unwrap_or_else(|error| format!("error: {error}\n")))
}

fn answer(question: &str) -> Result<String, String> {
    let lines: Vec<Vec<&str>> = question.lines().map(|line| line.split_whitespace().collect()).collect();
    let all = |word: &str| {
        lines
            .iter()
            .filter(|words| words.first() == Some(&word))
            .map(|words| words[1..].to_vec())
            .collect::<Vec<_>>()
    };
    let one = |word: &str| all(word).pop().unwrap_or_default();
    let customers = |words: &[&str]| words.iter().map(|id| customer(id)).collect::<BTreeSet<_>>();

    let [amount, currency, mode] = one("amount")[..] else {
        panic!("an amount has a currency and a rounding mode")
    };
    let amount = Amount::parse(amount, Sign::Any).expect("an amount");
    let (currency, mode) =
        (Currency::from_code(currency).expect("a currency"), RoundingMode::parse(mode).expect("a mode"));
    let settled = settle(amount, currency, mode).expect("money");
    let rule = match one("rule")[..] {
        ["proportional"] => Rule::Proportional,
        ["direct"] => Rule::Direct,
        ["standalone"] => Rule::Standalone,
        ["even"] => Rule::Even { among: None },
        ["even", "among", ref among @ ..] => Rule::Even { among: Some(customers(among)) },
        ["fixed", ref shares @ ..] => Rule::Fixed {
            shares: shares
                .iter()
                .map(|share| share.split_once('=').expect("customer=share"))
                .map(|(id, share)| {
                    (customer(id), Quantity::parse(share, Sign::NonNegative).expect("a share"))
                })
                .collect(),
        },
        ref other => panic!("no rule: {other:?}"),
    };
    let usage: Vec<SubjectUsage> = all("usage")
        .into_iter()
        .map(|words| SubjectUsage {
            customer: (words[0] != "-").then(|| customer(words[0])),
            subject: Subject::new(words[1]).expect("a subject"),
            quantity: number(words[2]),
        })
        .collect();
    let whose = |word: &str| (word != "-").then(|| customer(word));
    let alone: Vec<Alone> = all("alone")
        .into_iter()
        .map(|words| Alone {
            customer: whose(words[0]),
            amount: exact(Amount::parse(words[1], Sign::Any).expect("an amount")),
            quantity: number(words[2]),
        })
        .collect();
    let base: Vec<Borne> = all("base")
        .into_iter()
        .map(|words| Borne {
            customer: whose(words[0]),
            amount: Amount::parse(words[1], Sign::Any).expect("an amount"),
        })
        .collect();
    let account = one("account").first().map(|word| customer(word));
    let internal = customers(&one("internal"));

    let bearers = Bearers {
        usage: &usage,
        alone: &alone,
        base: (!base.is_empty()).then_some(&base),
        account: account.as_ref(),
        bound: &customers(&one("bound")),
    };
    let shares = shares(amount, &rule, &bearers, |customer| internal.contains(customer))
        .map_err(|error| error.to_string())?;
    let statement =
        statement(0, settled, &shares, &Partners::default()).map_err(|error| error.to_string())?;
    let mut output = String::new();
    for share in &shares {
        let (subject, quantity) =
            (share.subject.as_ref().map_or("", Subject::as_str), share.because.used().map(display));
        let row = format!(
            "{:14}{:12}{:16}{:>12}  {}",
            kind(share.kind),
            name(&share.customer),
            subject,
            quantity.unwrap_or_default(),
            share.amount
        );
        writeln!(output, "{row}").expect("a String takes everything");
    }
    let settled_text = settled.to_amount().expect("money is an amount");
    writeln!(output, "settled at {settled_text} {currency}").expect("a String takes everything");
    for line in &statement {
        let money = line.money.to_amount().expect("money is an amount");
        writeln!(
            output,
            "{:14}{:12}{money}",
            kind(line.kind.of_share().expect("a share")),
            name(&line.customer)
        )
        .expect("a String takes everything");
    }
    Ok(output)
}

fn number(text: &str) -> Exact {
    exact(QuantityTotal::parse(text, Sign::NonNegative).expect("a quantity"))
}

fn customer(id: &str) -> CustomerId {
    CustomerId::new(id).expect("a customer")
}

fn name(customer: &Option<CustomerId>) -> &str {
    customer.as_ref().map_or("-", CustomerId::as_str)
}

fn kind(kind: Kind) -> &'static str {
    kind.retained_reason().map_or(kind.as_str(), |reason| reason.as_str())
}
