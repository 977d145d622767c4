//! Nobody's usage in words and in JSON, for the verbs that tell of it.
//!
//! The sums are `rating::unattributed`'s.

use crate::show::{Align, plural, table};
use rating::unattributed::{Hint, Nobodys, Unattributed};
use serde_json::{Value, json};

/// The subjects of each currency that are listed.
pub const SUBJECTS_LISTED: usize = 20;

/// A sentence and a table for each currency, or nothing.
pub fn text(unattributed: &[Unattributed]) -> String {
    let mut text = String::new();
    for Unattributed { currency, amount, of, listed, others } in unattributed {
        text.push_str(&format!(
            "! {amount} of {of} {currency} is nobody's: no binding was in force for what used it; \
             bind it in bindings.csv, publish and rate again\n"
        ));
        let row = |nobodys: &Nobodys| {
            vec![
                nobodys.subject.as_ref().map_or_else(|| "(no subject)".to_owned(), ToString::to_string),
                format!("{} {currency}", nobodys.amount),
                nobodys.hint.as_ref().map_or_else(String::new, Hint::words),
            ]
        };
        let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
        text.push_str(&table(&[("subject", Align::Left), ("cost", Align::Right), ("", Align::Left)], &rows));
        let (count, cost) = others;
        if *count > 0 {
            text.push_str(&format!(
                "  … and {}, {cost} {currency} together\n",
                plural(*count as u64, "more subject", "more subjects")
            ));
        }
    }
    text
}

/// The same for programs.
pub fn json(unattributed: &[Unattributed]) -> Value {
    let subject = |nobodys: &Nobodys| {
        let meant = match &nobodys.hint {
            Some(Hint::Meant(subject)) => Some(subject.to_string()),
            Some(Hint::BoundAtOtherTimes) | None => None,
        };
        json!({
            "subject": nobodys.subject.as_ref().map(ToString::to_string),
            "amount": nobodys.amount.to_string(),
            "did_you_mean": meant,
            "bound_at_other_times": nobodys.hint == Some(Hint::BoundAtOtherTimes),
        })
    };
    let of_currency = |part: &Unattributed| {
        json!({
            "currency": part.currency.code(),
            "amount": part.amount.to_string(),
            "of": part.of.to_string(),
            "subjects": part.listed.iter().map(subject).collect::<Vec<_>>(),
            "others": { "subjects": part.others.0, "amount": part.others.1.to_string() },
        })
    };
    unattributed.iter().map(of_currency).collect()
}
