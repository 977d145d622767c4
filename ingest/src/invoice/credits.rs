//! Google's list of credits within a record: `[{"name": …, "amount": …}, …]`, in JSON lines, in a list
//! of Parquet or as text in a cell.
//!
//! Invariant: every credit of a list has an amount.

use super::error::InvoiceError;
use super::headers::plain;
use super::record::{Kind, is_missing};
use crate::decode::json::{self, Json, Members};
use bumpalo::Bump;
use serde_json::value::RawValue;

/// One credit.
#[derive(Debug, PartialEq, Eq)]
pub struct Credit {
    pub name: Option<Box<str>>,
    pub amount: Box<str>,
    pub kind: Kind,
}

/// More than any record has.
const MAX_CREDITS: usize = 1000;

/// Takes a list apart.
///
/// # Errors
/// What is no list of objects, and a credit without an amount.
pub fn read(list: &str) -> Result<Vec<Credit>, InvoiceError> {
    let items: Vec<&RawValue> = serde_json::from_str(list)
        .map_err(|error| InvoiceError::new(format!("it is no list of credits in JSON: {error}")))?;
    if items.len() > MAX_CREDITS {
        return Err(InvoiceError::new(format!("more than {MAX_CREDITS} credits in one record")));
    }
    let arena = Bump::new();
    let credit = |(place, item): (usize, &&RawValue)| {
        let json = json::parse(item.get().as_bytes(), &arena).map_err(|refusal| refusal.detail);
        json.and_then(|json| one(&json))
            .map_err(|why| InvoiceError::new(format!("credit {}: {why}", place + 1)))
    };
    items.iter().enumerate().map(credit).collect()
}

fn one(json: &Json<'_>) -> Result<Credit, String> {
    let Json::Object(members) = json else { return Err(format!("it is {}, not an object", json.what())) };
    // Some writers of Parquet put each item into a structure of its own.
    if let [("element" | "item", inner @ Json::Object(_))] = members.as_slice() {
        return one(inner);
    }
    let (amount, kind) = match member(members, "amount") {
        Some(Json::Number(digits)) => (*digits, Kind::Number),
        Some(Json::Text(text)) if !is_missing(text.trim()) => (text.trim(), Kind::Text),
        _ => return Err("it has no amount".to_owned()),
    };
    let text = |name| match member(members, name) {
        Some(Json::Text(text)) if !is_missing(text.trim()) => Some(text.trim()),
        _ => None,
    };
    let name = text("name").or_else(|| text("fullname")).or_else(|| text("id"));
    Ok(Credit { name: name.map(Into::into), amount: amount.into(), kind })
}

fn member<'a, 'j>(members: &'a Members<'j>, name: &str) -> Option<&'a Json<'j>> {
    members.iter().find(|(member, _)| plain(member) == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, expected: &[(&str, &str)]) {
        let credits = read(list).expect("a list");
        let shown: Vec<_> = credits
            .iter()
            .map(|credit| (credit.name.as_deref().unwrap_or_default(), credit.amount.as_ref()))
            .collect();
        assert_eq!(shown, expected, "{list}");
    }

    #[test]
    fn each_of_a_list_has_an_amount_and_may_have_a_name() {
        check("[]", &[]);
        check(
            r#"[{"name": "CUD", "amount": -1.50, "type": "X"}, {"full_name": "Free", "amount": "-2e-1"}]"#,
            &[("CUD", "-1.50"), ("Free", "-2e-1")],
        );
        check(r#"[{"element": {"name": null, "id": "a", "amount": -1}}]"#, &[("a", "-1")]);
        for (list, part) in [
            ("{}", "no list of credits"),
            ("[1]", "credit 1: it is a number"),
            (r#"[{"amount":1},{"name":"x"}]"#, "credit 2: it has no amount"),
            (r#"[{"amount":1,"amount":2}]"#, "twice"),
            (r#"[{"amount":"NULL"}]"#, "no amount"),
            ("[", "no list of credits"),
        ] {
            let error = read(list).expect_err("no credits").problem;
            assert!(error.contains(part), "{list}: {error}");
        }
    }
}
