//! Google's list of credits within a record: `[{"name": …, "amount": …}, …]`, in JSON lines, in a list
//! of Parquet or as text in a cell. Files that were written by way of Python have it as Python shows it:
//! `[{'name': 'CUD', 'full_name': None}]`.
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
    let shown = list.starts_with("[{'").then(|| from_python(list));
    let list = shown.as_deref().unwrap_or(list);
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

/// JSON out of a list that Python showed. What is neither stays as it is, and is no JSON either.
fn from_python(shown: &str) -> String {
    let mut json = String::with_capacity(shown.len());
    let mut rest = shown;
    while let Some(character) = rest.chars().next() {
        let word = [("None", "null"), ("True", "true"), ("False", "false")]
            .into_iter()
            .find(|(word, _)| rest.starts_with(word));
        if let Some((word, meant)) = word {
            json.push_str(meant);
            rest = &rest[word.len()..];
            continue;
        }
        rest = &rest[character.len_utf8()..];
        if !matches!(character, '\'' | '"') {
            json.push(character);
            continue;
        }
        let mut text = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next() {
                None => break rest.len(),
                Some((at, quote)) if quote == character => break at + 1,
                Some((_, '\\')) => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, other)) => other,
                    None => '\\',
                }),
                Some((_, other)) => text.push(other),
            }
        };
        json.push_str(&serde_json::to_string(&text).expect("a text is JSON"));
        rest = &rest[end..];
    }
    json
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
        check(
            r#"[{'name': 'CUD: "1 year"', 'amount': -5e-06, 'full_name': None, 'id': "Bob's \\'x\\'"}, {'id': 'a', 'amount': -1}]"#,
            &[("CUD: \"1 year\"", "-5e-06"), ("a", "-1")],
        );
        for (list, part) in [
            ("{}", "no list of credits"),
            ("[{'name': 'x", "no list of credits"),
            ("[{'amount': Decimal('1')}]", "no list of credits"),
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
